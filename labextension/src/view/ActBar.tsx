/** The switch between Chat and Act, the notebook that Act works on, and when it asks. */

import * as React from 'react';
import { POLICIES, Policy } from '../act/approvals';
import { NotebookHost } from '../act/assistant';
import { supportsTools } from '../model/models';
import { Mode } from '../model/types';
import { Icon } from './icons';
import { Segments } from './Segments';
import { Translator, useObservable, useServices } from './services';

export function ActBar(): React.JSX.Element {
  const { chat, assistant, trans } = useServices();
  const { mode } = useObservable(chat.state);
  const host = useObservable(assistant.host);
  const problem = useActProblem();
  const id = React.useId();
  return (
    <div className="pico-act-bar">
      <Segments<Mode>
        label={trans.__('Mode')}
        className="pico-mode"
        segments={[
          { value: 'chat', word: trans.__('Chat'), label: trans.__('Chat'), tip: trans.__('The model answers') },
          { value: 'act', word: trans.__('Act'), label: trans.__('Act'), tip: trans.__('The model works in the notebook, with your approval') }
        ]}
        chosen={mode}
        onChoose={next => chat.setMode(next)}
      />
      {mode === 'act' &&
        (problem || !host ? (
          <span className="pico-act-problem" role="status">
            <Icon name="alert" size={14} /> {problem}
          </span>
        ) : (
          <Work host={host} id={id} />
        ))}
    </div>
  );
}

function Work({ host, id }: { host: NotebookHost; id: string }): React.JSX.Element {
  const { chat, assistant, trans } = useServices();
  const { conversation } = useObservable(chat.state);
  const turns = useObservable(assistant.turns);
  const { notebook, policy } = useObservable(host.state);
  const current = turns.find(turn => turn.conversation === conversation.state.get().id)?.notebook ?? notebook;
  const words = policyWords(trans);
  return (
    <>
      <span className="pico-act-notebook" role="status" title={trans.__('The assistant works in %1', current)}>
        <span className="pico-for-readers">{trans.__('The assistant works in')} </span>
        {current}
      </span>
      <label className="pico-for-readers" htmlFor={id}>
        {trans.__('Approvals')}
      </label>
      <select id={id} className="pico-policy" value={policy} title={trans.__('When the assistant asks')} onChange={event => host.setPolicy(event.target.value as Policy)}>
        {POLICIES.map(choice => (
          <option key={choice} value={choice}>
            {words[choice]}
          </option>
        ))}
      </select>
    </>
  );
}

function policyWords(trans: Translator): Record<Policy, string> {
  return {
    always: trans.__('Always ask'),
    'run-and-delete': trans.__('Ask for run and delete'),
    never: trans.__('Never ask in this notebook')
  };
}

/** Why Act cannot work now; '' if it can. */
export function useActProblem(): string {
  const { chat, assistant, trans } = useServices();
  useObservable(chat.models.state);
  const host = useObservable(assistant.host);
  const notebook = useNotebook(host);
  const model = chat.models.chosen;
  if (!host) {
    return trans.__('Act works in notebooks of JupyterLab and Notebook 7.');
  }
  if (!notebook) {
    return trans.__('Open a notebook first.');
  }
  return model && !supportsTools(model) ? trans.__('%1 cannot call tools. Choose a model with the Tools badge.', model.name) : '';
}

function useNotebook(host: NotebookHost | null): string {
  const subscribe = React.useCallback((listener: () => void) => host?.state.subscribe(listener) ?? ((): void => undefined), [host]);
  return React.useSyncExternalStore(subscribe, () => host?.state.get().notebook ?? '');
}
