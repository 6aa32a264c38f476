/** How an answer grows: one piece after the other is folded into its message. Pure. */

import { Message, Delta } from './types';

/** When things happened, in milliseconds since the epoch; 0: not yet. */
export interface Timing {
  readonly asked: number;
  readonly first: number;
  readonly reasoningStarted: number;
}

export function startTiming(asked: number): Timing {
  return { asked, first: 0, reasoningStarted: 0 };
}

export function updateTiming(timing: Timing, piece: Delta, now: number): Timing {
  if (piece.kind !== 'text' && piece.kind !== 'reasoning') {
    return timing;
  }
  const first = timing.first || now;
  return { ...timing, first, reasoningStarted: timing.reasoningStarted || (piece.kind === 'reasoning' ? now : 0) };
}

export function fold(message: Message, piece: Delta, timing: Timing, now: number): Message {
  switch (piece.kind) {
    case 'progress':
      return message;
    case 'reasoning':
      return {
        ...withTiming(message, timing, now),
        reasoning: (message.reasoning ?? '') + piece.text,
        thinkingMs: now - timing.reasoningStarted
      };
    case 'text':
      return { ...withTiming(message, timing, now), content: message.content + piece.text };
    case 'finish':
      return { ...message, finish: piece.reason };
    case 'usage':
      return { ...message, stats: piece.stats };
  }
}

function withTiming(message: Message, timing: Timing, now: number): Message {
  return { ...message, firstMs: timing.first - timing.asked, decodeMs: now - timing.first };
}

/** Tokens a second after the first token, or null where that says nothing. */
export function tokensPerSecond(message: Message): number | null {
  const tokens = (message.stats?.completionTokens ?? 0) - 1;
  return tokens > 0 && message.decodeMs ? (tokens * 1000) / message.decodeMs : null;
}
