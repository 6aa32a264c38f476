/** Shows the messages. It scrolls with a growing answer until the user scrolls up. */

import * as React from 'react';
import { Conversation, ConversationState } from '../model/conversation';
import { Answer } from './Answer';
import { ApprovalCard } from './ApprovalCard';
import { Welcome } from './Welcome';
import { Icon } from './icons';
import { Question } from './Question';
import { useObservable, useServices } from './services';

/** Pixels from the end within which the list counts as scrolled to its end. */
const NEAR_END = 48;

interface MessageListProps {
  readonly conversation: Conversation;
  readonly state: ConversationState;
  readonly isAnswering: boolean;
}

export function MessageList({ conversation, state, isAnswering }: MessageListProps): React.JSX.Element {
  const { trans } = useServices();
  const { messages, progress } = state;
  const { box, isScrolledUp, onScroll, scrollToEnd } = useAutoScroll(messages.length);
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
                follows={messages[index - 1]?.role === 'assistant' && !!messages[index - 1].calls}
                progress={isLast ? progress : null}
              />
            );
          })}
          <Approval id={state.id} />
        </div>
      </div>
      {isScrolledUp && (
        <button type="button" className="pico-jump" aria-label={trans.__('Jump to the latest message')} onClick={scrollToEnd}>
          <Icon name="down" />
        </button>
      )}
    </div>
  );
}

/** What waits for the user's approval in this conversation. */
function Approval({ id }: { id: string }): React.JSX.Element | null {
  const { assistant } = useServices();
  const turn = useObservable(assistant.turns).find(({ conversation }) => conversation === id);
  return turn?.request ? <ApprovalCard {...turn.request} notebook={turn.notebook} isTurn={turn.request.proposal.kind !== 'other'} /> : null;
}

interface AutoScroll {
  readonly box: React.RefObject<HTMLDivElement>;
  readonly isScrolledUp: boolean;
  readonly onScroll: () => void;
  readonly scrollToEnd: () => void;
}

/** Keeps an element scrolled to its end while it grows, unless the user has scrolled up. */
function useAutoScroll(count: number): AutoScroll {
  const box = React.useRef<HTMLDivElement>(null);
  const isFollowing = React.useRef(true);
  const [isScrolledUp, setScrolledUp] = React.useState(false);
  const scrollToEnd = React.useCallback(() => {
    isFollowing.current = true;
    if (box.current) {
      box.current.scrollTop = box.current.scrollHeight;
    }
  }, []);
  const onScroll = (): void => {
    if (box.current) {
      const { scrollHeight, scrollTop, clientHeight } = box.current;
      isFollowing.current = scrollHeight - scrollTop - clientHeight < NEAR_END;
      setScrolledUp(!isFollowing.current);
    }
  };
  React.useEffect(() => {
    const content = box.current?.firstElementChild;
    if (!content) {
      return undefined;
    }
    const observer = new ResizeObserver(() => isFollowing.current && scrollToEnd());
    observer.observe(content);
    return () => observer.disconnect();
  }, [scrollToEnd]);
  React.useEffect(scrollToEnd, [count, scrollToEnd]);
  return { box, isScrolledUp, onScroll, scrollToEnd };
}
