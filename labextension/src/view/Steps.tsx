/** Shows the tool calls of an answer. A click on a call shows its arguments and its result. */

import * as React from 'react';
import { Json, object, parseJson, string } from '../model/json';
import { Message, ToolCall } from '../model/types';
import { Icon, IconName } from './icons';
import { Translator, useObservable, useServices } from './services';

export function Steps({ message }: { message: Message }): React.JSX.Element {
  const { trans } = useServices();
  const isLive = message.status === 'streaming';
  return (
    <ul className="pico-steps" aria-label={trans.__('Steps')}>
      {message.calls?.map((call, index) => (
        <li key={index}>
          <Step call={call} isLive={isLive} />
        </li>
      ))}
    </ul>
  );
}

function Step({ call, isLive }: { call: ToolCall; isLive: boolean }): React.JSX.Element {
  const { trans } = useServices();
  const [isOpen, setOpen] = React.useState(false);
  const body = React.useId();
  const args = object(parseJson(call.arguments));
  const [icon, word] = useOutcome(call, isLive);
  return (
    <div className={`pico-step${call.failed ? ' pico-step-failed' : ''}`}>
      <button type="button" className="pico-step-head" aria-expanded={isOpen} aria-controls={body} onClick={() => setOpen(!isOpen)}>
        <Icon name={icon} size={14} />
        <span className="pico-step-title">{stepTitle(call.name, args, trans)}</span>
        <span className="pico-step-word">{word}</span>
        <span className={`pico-chevron${isOpen ? ' pico-open' : ''}`}>
          <Icon name="right" size={14} />
        </span>
      </button>
      <div id={body} className="pico-step-body" hidden={!isOpen}>
        {isOpen && (
          <>
            <Text label={trans.__('Arguments')} text={argumentsText(args, call.arguments)} />
            {call.result !== undefined && <Text label={trans.__('Result')} text={call.result} />}
            {call.images?.map((image, index) => <img key={index} src={image} alt={trans.__('Image %1 of the output', index + 1)} />)}
          </>
        )}
      </div>
    </div>
  );
}

function Text({ label, text }: { label: string; text: string }): React.JSX.Element | null {
  if (!text) {
    return null;
  }
  return (
    <figure>
      <figcaption>{label}</figcaption>
      <pre tabIndex={0} dir="ltr">
        {text}
      </pre>
    </figure>
  );
}

/** The icon and the word for the state of a call. */
function useOutcome({ result, failed }: ToolCall, isLive: boolean): [IconName, string] {
  const { chat, assistant, trans } = useServices();
  const turns = useObservable(assistant.turns);
  const { conversation } = useObservable(chat.state);
  if (failed) {
    return ['alert', trans.__('Failed')];
  }
  if (result !== undefined) {
    return ['check', trans.__('Done')];
  }
  if (!isLive) {
    return ['close', trans.__('Not done')];
  }
  const turn = turns.find(other => other.conversation === conversation.state.get().id);
  return ['tools', turn?.request ? trans.__('Waits for your approval') : turn?.note || trans.__('Running…')];
}

/** What a call does, in words. The arguments of an unknown tool are not part of it. */
export function stepTitle(name: string, args: Json, trans: Translator): string {
  const cell = string(args.cell);
  const titles: Readonly<Record<string, string>> = {
    read_notebook: trans.__('Read the notebook'),
    read_cell: trans.__('Read cell %1', cell),
    insert_cell: args.kind === 'markdown' ? trans.__('Add a text cell') : trans.__('Add a code cell'),
    edit_cell: trans.__('Change cell %1', cell),
    delete_cell: trans.__('Delete cell %1', cell),
    run_cell: trans.__('Run cell %1', cell),
    read_file: trans.__('Read %1', string(args.path)),
    list_files: trans.__('List the files')
  };
  return Object.hasOwn(titles, name) ? titles[name] : name;
}

/** The source alone, or all arguments as JSON. */
function argumentsText(args: Json, text: string): string {
  const names = Object.keys(args);
  if (names.length === 0) {
    return text === '{}' ? '' : text;
  }
  return typeof args.source === 'string' ? args.source : JSON.stringify(args, null, 2);
}
