/** The messages. It follows what is being written, until the reader scrolls up. */

import * as React from 'react';
import { Conversation, ConversationState } from '../model/conversation';
import { Answer } from './Answer';
import { Welcome } from './Welcome';
import { Icon } from './icons';
import { Question } from './Question';
import { useServices } from './services';

/** So near to the end, the reader is at the end. */
const NEAR_END = 48;

interface TranscriptProps {
  readonly conversation: Conversation;
  readonly state: ConversationState;
  readonly isAnswering: boolean;
}

export function Transcript({ conversation, state, isAnswering }: TranscriptProps): React.JSX.Element {
  const { trans } = useServices();
  const { messages, progress } = state;
  const { box, isAway, onScroll, toEnd } = useAutoScroll(messages.length);
  return (
    <div className="pico-scroll-frame">
      <div className="pico-scroll" ref={box} onScroll={onScroll} tabIndex={0} role="log" aria-label={trans.__('Conversation')} aria-live="off" aria-busy={isAnswering}>
        <div className="pico-messages">
          {!messages.length && <Welcome />}
          {messages.map((message, index) => {
            const isLast = index === messages.length - 1;
            return message.role === 'user' ? (
              <Question key={message.id} message={message} conversation={conversation} isBusy={isAnswering} />
            ) : (
              <Answer
                key={message.id}
                message={message}
                conversation={conversation}
                isBusy={isAnswering}
                isLast={isLast}
                progress={isLast ? progress : null}
              />
            );
          })}
        </div>
      </div>
      {isAway && (
        <button type="button" className="pico-jump" aria-label={trans.__('Jump to the latest message')} onClick={toEnd}>
          <Icon name="down" />
        </button>
      )}
    </div>
  );
}

interface AutoScroll {
  readonly box: React.RefObject<HTMLDivElement>;
  readonly isAway: boolean;
  readonly onScroll: () => void;
  readonly toEnd: () => void;
}

/** Keeps a box scrolled to its end while it grows, unless the reader is away from there. */
function useAutoScroll(count: number): AutoScroll {
  const box = React.useRef<HTMLDivElement>(null);
  const follows = React.useRef(true);
  const [isAway, setAway] = React.useState(false);
  const toEnd = React.useCallback(() => {
    follows.current = true;
    if (box.current) {
      box.current.scrollTop = box.current.scrollHeight;
    }
  }, []);
  const onScroll = (): void => {
    if (box.current) {
      const { scrollHeight, scrollTop, clientHeight } = box.current;
      follows.current = scrollHeight - scrollTop - clientHeight < NEAR_END;
      setAway(!follows.current);
    }
  };
  React.useEffect(() => {
    const content = box.current?.firstElementChild;
    if (!content) {
      return undefined;
    }
    const observer = new ResizeObserver(() => follows.current && toEnd());
    observer.observe(content);
    return () => observer.disconnect();
  }, [toEnd]);
  React.useEffect(toEnd, [count, toEnd]);
  return { box, isAway, onScroll, toEnd };
}
