/** Shows an answer with its actions and statistics. */

import * as React from 'react';
import { tokensPerSecond } from '../model/applyDelta';
import { Conversation } from '../model/conversation';
import { Message } from '../model/types';
import { Icon } from './icons';
import { LoadProgress } from './LoadProgress';
import { Markdown } from './Markdown';
import { CopyButton, IconButton } from './controls';
import { useObservable, useServices } from './services';
import { Steps } from './Steps';
import { Thinking } from './Thinking';

interface AnswerProps {
  readonly message: Message;
  readonly conversation: Conversation;
  readonly isBusy: boolean;
  readonly isLast: boolean;
  /** Whether the answer follows another one of the same turn. */
  readonly follows: boolean;
  /** Progress before the first token, from 0 to 1. */
  readonly progress: number | null;
}

export const Answer = React.memo(function Answer(props: AnswerProps) {
  const { trans } = useServices();
  const { message, isBusy, isLast } = props;
  const isStreaming = message.status === 'streaming';
  const hasCalls = !!message.calls?.length;
  const isStep = hasCalls && !isLast;
  return (
    <article
      className={`pico-message pico-answer${isLast ? ' pico-last' : ''}${props.follows ? ' pico-follows' : ''}`}
      aria-label={trans.__('Answer from %1', message.model ?? '')}
      aria-busy={isStreaming}
    >
      {!props.follows && (
        <div className="pico-who">
          <span className="pico-avatar">
            <Icon name="chat" size={12} />
          </span>
          {message.model}
        </div>
      )}
      {message.reasoning && <Thinking message={message} isLive={isStreaming && !message.content && !hasCalls} />}
      {isStreaming && !message.content && !message.reasoning && !hasCalls && <Waiting message={message} progress={props.progress} />}
      <Markdown source={message.content} isLive={isStreaming && message.content !== '' && !hasCalls} />
      {hasCalls && <Steps message={message} />}
      {message.status === 'failed' && <Failure {...props} />}
      {isStreaming && !isBusy && <p className="pico-note">{trans.__('This answer is being written in another window.')}</p>}
      {!isStreaming && !isStep && <Footer {...props} />}
    </article>
  );
});

/** Shows the progress of a load or of prefill before the first token. */
function Waiting({ message, progress }: { message: Message; progress: number | null }): React.JSX.Element {
  const { chat, trans } = useServices();
  const { busy } = useObservable(chat.models.state);
  if (message.model && busy.includes(message.model)) {
    return <LoadProgress model={message.model} />;
  }
  return (
    <div className="pico-waiting" role="img" aria-label={trans.__('Waiting for the first token')}>
      <i />
      <i />
      <i />
      {progress !== null && <span>{trans.__('Preparing: %1 %', Math.round(progress * 100))}</span>}
    </div>
  );
}

function Failure({ message, conversation }: AnswerProps): React.JSX.Element {
  const { trans } = useServices();
  return (
    <div className="pico-error" role="alert">
      <Icon name="alert" />
      <div>
        <b>{trans.__('The model could not answer.')}</b>
        <div dir="auto">{message.error}</div>
      </div>
      <button type="button" className="pico-button" onClick={() => void conversation.regenerate(message.id)}>
        <Icon name="redo" size={14} /> {trans.__('Retry')}
      </button>
    </div>
  );
}

function Footer({ message, conversation, isBusy, isLast }: AnswerProps): React.JSX.Element {
  const { trans } = useServices();
  const isCutOff = ['length', 'step_limit', 'tool_errors'].includes(message.finish ?? '');
  const canContinue = isLast && (message.content !== '' || !!message.calls) && (message.status !== 'done' || isCutOff);
  return (
    <footer className="pico-footer">
      <span className="pico-actions">
        <CopyButton label={trans.__('Copy answer')} text={message.content} />
        <IconButton icon="redo" label={trans.__('Regenerate')} disabled={isBusy} onClick={() => void conversation.regenerate(message.id)} />
        <IconButton icon="trash" label={trans.__('Delete answer')} disabled={isBusy} onClick={() => conversation.remove(message.id)} />
        {canContinue && (
          <IconButton icon="play" label={trans.__('Continue')} disabled={isBusy} onClick={() => void conversation.continue(message.id)} />
        )}
      </span>
      <span className="pico-spacer" />
      <Outcome message={message} />
      <Figures message={message} />
    </footer>
  );
}

function Outcome({ message }: { message: Message }): React.JSX.Element | null {
  const { trans } = useServices();
  const reasons: Readonly<Record<string, string | undefined>> = {
    length: trans.__('Cut off: token limit reached'),
    step_limit: trans.__('Paused: step limit reached'),
    tool_errors: trans.__('Ended: two errors in a row')
  };
  const words: Partial<Record<Message['status'], string>> = {
    stopped: trans.__('Stopped'),
    interrupted: trans.__('Interrupted'),
    done: reasons[message.finish ?? '']
  };
  const word = words[message.status];
  return word ? <span className="pico-muted">{word}</span> : null;
}

function Figures({ message }: { message: Message }): React.JSX.Element | null {
  const { trans } = useServices();
  const { stats, firstMs } = message;
  if (!stats) {
    return null;
  }
  const rate = tokensPerSecond(message);
  return (
    <span className="pico-figures" title={trans.__('%1 prompt tokens, %2 reasoning tokens', stats.promptTokens, stats.reasoningTokens)}>
      {rate !== null && <span>{trans.__('%1 tok/s', rate < 100 ? rate.toFixed(1) : Math.round(rate))}</span>}
      <span>{trans.__('%1 tokens', stats.completionTokens)}</span>
      {firstMs !== undefined && <span className="pico-wide-only">{trans.__('%1 s to first token', (firstMs / 1000).toFixed(2))}</span>}
    </span>
  );
}
