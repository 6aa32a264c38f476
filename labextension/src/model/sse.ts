/** Server-sent events, as far as the chat endpoints use them: data and comments. Knows no JSON. */

export type SseEvent =
  | { readonly kind: 'data'; readonly data: string }
  | { readonly kind: 'comment'; readonly text: string };

/** Takes text in pieces of any size and gives the events that are complete. */
export class SseParser {
  push(text: string): SseEvent[] {
    const events: SseEvent[] = [];
    let rest = this._rest + text;
    for (;;) {
      const end = /\r\n|\n|\r(?!$)/.exec(rest);
      if (!end) {
        break;
      }
      this._takeLine(rest.slice(0, end.index), events);
      rest = rest.slice(end.index + end[0].length);
    }
    this._rest = rest;
    return events;
  }

  private _takeLine(line: string, events: SseEvent[]): void {
    if (line.startsWith(':')) {
      events.push({ kind: 'comment', text: line.slice(1).trim() });
    } else if (line.startsWith('data:')) {
      this._data.push(line.slice(line[5] === ' ' ? 6 : 5));
    } else if (line === '' && this._data.length) {
      events.push({ kind: 'data', data: this._data.join('\n') });
      this._data = [];
    }
  }

  private _rest = '';
  private _data: string[] = [];
}

export async function* readEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<SseEvent, void> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  const parser = new SseParser();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) {
        return;
      }
      yield* parser.push(decoder.decode(value, { stream: true }));
    }
  } finally {
    reader.cancel().catch(() => undefined);
  }
}
