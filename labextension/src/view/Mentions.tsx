/** The list that opens at `@` in the message: parts of the notebook that the message can carry. */

import * as React from 'react';
import { contextBudget, ContextSource, matchingSources, Mention, mentionAt, withoutMention } from '../model/context';
import { reasonOf } from '../model/wire';
import { useObservable, useServices } from './services';

const LIST = 'pico-mentions';

interface Mentions {
  /** The list, while it is open. */
  readonly list: React.JSX.Element | null;
  /** Attributes of the text field. */
  readonly field: React.TextareaHTMLAttributes<HTMLTextAreaElement>;
  /** Handles a key of the text field. Returns true if the key was for the list. */
  readonly onKeyDown: (event: React.KeyboardEvent<HTMLTextAreaElement>) => boolean;
  /** Why the last part could not be read, or ''. */
  readonly problem: string;
  readonly close: () => void;
}

/** Opens the list while the cursor is in a mention. `setText` replaces the text when a part is chosen. */
export function useMentions(area: React.RefObject<HTMLTextAreaElement>, text: string, setText: (text: string) => void): Mentions {
  const { actions, trans } = useServices();
  const [mention, setMention] = React.useState<Mention | null>(null);
  const [position, setPosition] = React.useState(0);
  const { attach, problem } = useContextReader();
  const id = React.useId();
  const found = mention ? matchingSources(actions.contexts ?? [], mention.word) : [];
  const close = (): void => setMention(null);
  const choose = (source: ContextSource): void => {
    if (mention) {
      setText(withoutMention(text, mention));
      close();
      area.current?.focus();
      void attach(source);
    }
  };
  const onKeyDown = (event: React.KeyboardEvent<HTMLTextAreaElement>): boolean => {
    const step = { ArrowDown: 1, ArrowUp: found.length - 1 }[event.key];
    if (!found.length) {
      return false;
    }
    if (step) {
      setPosition((position + step) % found.length);
    } else if ((event.key === 'Enter' && !event.shiftKey) || event.key === 'Tab') {
      choose(found[Math.min(position, found.length - 1)]);
    } else if (event.key === 'Escape') {
      close();
    } else {
      return false;
    }
    event.preventDefault();
    event.stopPropagation();
    return true;
  };
  const follow = (event: React.SyntheticEvent<HTMLTextAreaElement>): void => {
    const { value, selectionStart, selectionEnd } = event.currentTarget;
    const next = actions.contexts && selectionStart === selectionEnd ? mentionAt(value, selectionStart) : null;
    if (next?.word !== mention?.word) {
      setPosition(0);
    }
    setMention(next);
  };
  const active = found.length ? `${id}${found[Math.min(position, found.length - 1)].id}` : undefined;
  const list = found.length ? (
    <ul id={LIST} className="pico-mentions" role="listbox" aria-label={trans.__('Add to the message')}>
      {found.map((source, index) => (
        <li
          key={source.id}
          id={`${id}${source.id}`}
          role="option"
          aria-selected={index === position}
          className={`pico-row pico-mention${index === position ? ' pico-cursor' : ''}`}
          // The text field keeps the focus.
          onMouseDown={event => event.preventDefault()}
          onClick={() => choose(source)}
        >
          <code>@{source.id}</code> <span>{source.label}</span> <span className="pico-muted">{source.hint()}</span>
        </li>
      ))}
    </ul>
  ) : null;
  const field = actions.contexts
    ? { onSelect: follow, onBlur: close, 'aria-autocomplete': 'list' as const, 'aria-controls': list ? LIST : undefined, 'aria-activedescendant': active }
    : {};
  return { list, field, onKeyDown, problem, close };
}

interface ContextReader {
  /** Read a part of the notebook into the attachments of the next message. Resolves to false if there is nothing to attach. */
  readonly attach: (source: ContextSource) => Promise<boolean>;
  /** Why the last part could not be read, or ''. */
  readonly problem: string;
}

export function useContextReader(): ContextReader {
  const { chat } = useServices();
  const [problem, setProblem] = React.useState('');
  const { attachments } = useObservable(chat.state);
  const attach = async (source: ContextSource): Promise<boolean> => {
    const used = attachments.reduce((sum, { kind, data }) => sum + (kind === 'text' ? data.length : 0), 0);
    try {
      setProblem('');
      const candidates = await source.read(contextBudget(chat.models.chosen?.context ?? 0, used));
      chat.attach(candidates);
      return candidates.length > 0;
    } catch (error) {
      setProblem(reasonOf(error));
      return false;
    }
  };
  return { attach, problem };
}
