/** Shows how much of the model's context the last answer used. */

import * as React from 'react';
import { Message } from '../model/types';
import { useObservable, useServices } from './services';

const RADIUS = 6;
const LENGTH = 2 * Math.PI * RADIUS;

export function ContextGauge({ messages }: { messages: readonly Message[] }): React.JSX.Element | null {
  const { chat, trans } = useServices();
  useObservable(chat.models.state);
  const limit = chat.models.chosen?.context ?? 0;
  const stats = messages.findLast(message => message.stats)?.stats;
  if (!limit || !stats) {
    return null;
  }
  const used = stats.promptTokens + stats.completionTokens;
  const share = Math.min(1, used / limit);
  const label = trans.__('Context: %1 of %2 tokens', used.toLocaleString(), limit.toLocaleString());
  return (
    <span className={`pico-gauge${share > 0.85 ? ' pico-full' : ''}`} role="img" aria-label={label} title={label}>
      <svg width="16" height="16" viewBox="0 0 16 16" aria-hidden="true">
        <circle cx="8" cy="8" r={RADIUS} />
        <circle cx="8" cy="8" r={RADIUS} strokeDasharray={`${share * LENGTH} ${LENGTH}`} transform="rotate(-90 8 8)" />
      </svg>
    </span>
  );
}
