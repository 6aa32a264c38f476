/** Reads the data and the comments of server-sent events from a response body. */

import { createParser } from 'eventsource-parser';

export type SseEvent =
  | { readonly kind: 'data'; readonly data: string }
  | { readonly kind: 'comment'; readonly text: string };

/** Yields each event once it is complete. Leaving the loop cancels the body. */
export async function* readEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<SseEvent, void> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  const events: SseEvent[] = [];
  const parser = createParser({
    onEvent: ({ data }) => void events.push({ kind: 'data', data }),
    onComment: text => void events.push({ kind: 'comment', text })
  });
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) {
        return;
      }
      parser.feed(decoder.decode(value, { stream: true }));
      yield* events.splice(0);
    }
  } finally {
    reader.cancel().catch(() => undefined);
  }
}
