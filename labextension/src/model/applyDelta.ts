/** Applies the deltas of an answer to its message, and measures their timing. */

import { Delta, Message, ToolCall } from './types';

/** Times in milliseconds since the epoch. 0 means that the event has not happened yet. */
export interface Timing {
  readonly sent: number;
  readonly firstDelta: number;
  readonly reasoningStarted: number;
}

export function startTiming(sent: number): Timing {
  return { sent, firstDelta: 0, reasoningStarted: 0 };
}

export function updateTiming(timing: Timing, delta: Delta, now: number): Timing {
  if (delta.kind !== 'text' && delta.kind !== 'reasoning' && delta.kind !== 'call') {
    return timing;
  }
  const firstDelta = timing.firstDelta || now;
  return { ...timing, firstDelta, reasoningStarted: timing.reasoningStarted || (delta.kind === 'reasoning' ? now : 0) };
}

export function applyDelta(message: Message, delta: Delta, timing: Timing, now: number): Message {
  switch (delta.kind) {
    case 'progress':
      return message;
    case 'reasoning':
      return {
        ...withTiming(message, timing, now),
        reasoning: (message.reasoning ?? '') + delta.text,
        thinkingMs: now - timing.reasoningStarted
      };
    case 'text':
      return { ...withTiming(message, timing, now), content: message.content + delta.text };
    case 'call':
      return { ...withTiming(message, timing, now), calls: withCall(message.calls ?? [], delta) };
    case 'finish':
      return { ...message, finish: delta.reason };
    case 'usage':
      return { ...message, stats: delta.stats };
  }
}

/** Adds a part of a call. Only its first part has an id and a name. */
function withCall(calls: readonly ToolCall[], { index, id, name, arguments: text }: Delta & { kind: 'call' }): ToolCall[] {
  const call = calls[index] ?? { id: id || `call${index}`, name, arguments: '' };
  return [...calls.slice(0, index), { ...call, arguments: call.arguments + text }, ...calls.slice(index + 1)];
}

function withTiming(message: Message, timing: Timing, now: number): Message {
  return { ...message, firstMs: timing.firstDelta - timing.sent, decodeMs: now - timing.firstDelta };
}

/** Decoded tokens per second after the first token, or null without enough data. */
export function tokensPerSecond(message: Message): number | null {
  const tokens = (message.stats?.completionTokens ?? 0) - 1;
  return tokens > 0 && message.decodeMs ? (tokens * 1000) / message.decodeMs : null;
}
