/** Shows the reasoning of an answer. It is open while the model reasons, and closed afterwards. A click opens or closes it. */

import * as React from 'react';
import { Message } from '../model/types';
import { Icon } from './icons';
import { Markdown } from './Markdown';
import { useServices } from './services';

export function Thinking({ message, isLive }: { message: Message; isLive: boolean }): React.JSX.Element {
  const { trans } = useServices();
  const [choice, setChoice] = React.useState<boolean | null>(null);
  const body = React.useRef<HTMLDivElement>(null);
  const isOpen = choice ?? isLive;
  React.useEffect(() => {
    if (isLive && body.current) {
      body.current.scrollTop = body.current.scrollHeight;
    }
  }, [isLive, message.reasoning]);
  const seconds = ((message.thinkingMs ?? 0) / 1000).toFixed(1);
  const tokens = message.stats?.reasoningTokens;
  return (
    <div className={`pico-think${isLive ? ' pico-live' : ''}`}>
      <button type="button" className="pico-think-head" aria-expanded={isOpen} onClick={() => setChoice(!isOpen)}>
        <Icon name="bulb" size={14} />
        <span>{isLive ? trans.__('Thinking…') : trans.__('Thought for %1 s', seconds)}</span>
        {!isLive && !!tokens && <span className="pico-wide-only">· {trans.__('%1 tokens', tokens)}</span>}
        <span className={`pico-chevron${isOpen ? ' pico-open' : ''}`}>
          <Icon name="right" size={14} />
        </span>
      </button>
      {isOpen && (
        <div className="pico-think-body" ref={body} tabIndex={0} role="region" aria-label={trans.__('Reasoning')}>
          <Markdown source={message.reasoning ?? ''} isLive={isLive} />
        </div>
      )}
    </div>
  );
}
