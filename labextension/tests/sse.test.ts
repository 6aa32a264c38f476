import { expect, test } from 'vitest';
import { readEvents, SseEvent } from '../src/model/sse';

const data = (text: string): SseEvent => ({ kind: 'data', data: text });
const comment = (text: string): SseEvent => ({ kind: 'comment', text });

async function read(...chunks: readonly Uint8Array[]): Promise<SseEvent[]> {
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      chunks.forEach(chunk => controller.enqueue(chunk));
      controller.close();
    }
  });
  const events: SseEvent[] = [];
  for await (const event of readEvents(body)) {
    events.push(event);
  }
  return events;
}

const TABLE: [string, string, SseEvent[]][] = [
  ['one event', 'data: {"a":1}\n\n', [data('{"a":1}')]],
  ['no space after the colon', 'data:x\n\n', [data('x')]],
  ['several lines of data', 'data: a\ndata: b\n\n', [data('a\nb')]],
  ['a comment between events', 'data: a\n\n: keepalive 3/10\n\ndata: b\n\n', [data('a'), comment('keepalive 3/10'), data('b')]],
  ['other fields are ignored', 'event: x\nid: 1\ndata: a\n\n', [data('a')]],
  ['CRLF', 'data: a\r\n\r\ndata: b\r\n\r\n', [data('a'), data('b')]],
  ['empty lines alone are not an event', '\n\n\ndata: a\n\n', [data('a')]],
  ['an incomplete event at the end is dropped', 'data: a\n\ndata: b\n', [data('a')]],
  ['characters beyond ASCII', 'data: héllo 🎈\n\n', [data('héllo 🎈')]]
];

test.each(TABLE)('%s, in chunks of any size', async (_, stream, expected) => {
  const bytes = new TextEncoder().encode(stream);
  for (let cut = 0; cut <= bytes.length; cut += 1) {
    expect(await read(bytes.slice(0, cut), bytes.slice(cut))).toEqual(expected);
  }
  expect(await read(...Array.from(bytes, byte => Uint8Array.of(byte)))).toEqual(expected);
});

test('leaving the loop cancels the body', async () => {
  let cancelled = false;
  const body = new ReadableStream<Uint8Array>({
    pull: controller => controller.enqueue(new TextEncoder().encode('data: x\n\n')),
    cancel: () => void (cancelled = true)
  });
  for await (const event of readEvents(body)) {
    expect(event).toEqual(data('x'));
    break;
  }
  expect(cancelled).toBe(true);
});
