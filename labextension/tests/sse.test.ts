import { expect, test } from 'vitest';
import { readEvents, SseEvent, SseParser } from '../src/model/sse';

const data = (text: string): SseEvent => ({ kind: 'data', data: text });
const comment = (text: string): SseEvent => ({ kind: 'comment', text });

const TABLE: [string, string, SseEvent[]][] = [
  ['one event', 'data: {"a":1}\n\n', [data('{"a":1}')]],
  ['no space after the colon', 'data:x\n\n', [data('x')]],
  ['several lines of data', 'data: a\ndata: b\n\n', [data('a\nb')]],
  ['a comment between events', 'data: a\n\n: keepalive 3/10\n\ndata: b\n\n', [data('a'), comment('keepalive 3/10'), data('b')]],
  ['other fields are skipped', 'event: x\nid: 1\ndata: a\n\n', [data('a')]],
  ['CRLF', 'data: a\r\n\r\ndata: b\r\n\r\n', [data('a'), data('b')]],
  ['blank lines alone say nothing', '\n\n\ndata: a\n\n', [data('a')]],
  ['an event that is not complete is none', 'data: a\n\ndata: b\n', [data('a')]],
  ['characters beyond ASCII', 'data: héllo 🎈\n\n', [data('héllo 🎈')]]
];

test.each(TABLE)('%s, in pieces of any size', (_, stream, expected) => {
  for (let cut = 0; cut <= stream.length; cut += 1) {
    const parser = new SseParser();
    expect([...parser.push(stream.slice(0, cut)), ...parser.push(stream.slice(cut))]).toEqual(expected);
  }
  const parser = new SseParser();
  expect([...stream].flatMap(character => parser.push(character))).toEqual(expected);
});

test('bytes that split a character are put together', async () => {
  const bytes = new TextEncoder().encode('data: 🎈\n\n');
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      bytes.forEach(byte => controller.enqueue(Uint8Array.of(byte)));
      controller.close();
    }
  });
  const events: SseEvent[] = [];
  for await (const event of readEvents(body)) {
    events.push(event);
  }
  expect(events).toEqual([data('🎈')]);
});

test('leaving the events cancels the body', async () => {
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
