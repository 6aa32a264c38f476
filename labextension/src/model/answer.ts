/** How an answer grows: one piece after the other is folded into its message. Pure. */

import { Message, Piece } from './types';

/** When things happened, in milliseconds since the epoch; 0: not yet. */
export interface Course {
  readonly asked: number;
  readonly first: number;
  readonly thinkingBegan: number;
}

export function beginCourse(asked: number): Course {
  return { asked, first: 0, thinkingBegan: 0 };
}

export function advance(course: Course, piece: Piece, now: number): Course {
  if (piece.kind !== 'text' && piece.kind !== 'reasoning') {
    return course;
  }
  const first = course.first || now;
  return { ...course, first, thinkingBegan: course.thinkingBegan || (piece.kind === 'reasoning' ? now : 0) };
}

export function fold(message: Message, piece: Piece, course: Course, now: number): Message {
  switch (piece.kind) {
    case 'progress':
      return message;
    case 'reasoning':
      return {
        ...timed(message, course, now),
        reasoning: (message.reasoning ?? '') + piece.text,
        thinkingMs: now - course.thinkingBegan
      };
    case 'text':
      return { ...timed(message, course, now), content: message.content + piece.text };
    case 'finish':
      return { ...message, finish: piece.reason };
    case 'usage':
      return { ...message, stats: piece.stats };
  }
}

function timed(message: Message, course: Course, now: number): Message {
  return { ...message, firstMs: course.first - course.asked, decodeMs: now - course.first };
}

/** Tokens a second after the first token, or null where that says nothing. */
export function tokensPerSecond(message: Message): number | null {
  const tokens = (message.stats?.completionTokens ?? 0) - 1;
  return tokens > 0 && message.decodeMs ? (tokens * 1000) / message.decodeMs : null;
}
