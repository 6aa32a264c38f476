/** The backend over HTTP: a Jupyter server with pico_jupyter. The caller provides the function that sends requests. */

import { Memory, readMemory } from './memory';
import { readEvents } from './sse';
import { Backend, ChatRequest, Delta, Model } from './types';
import { chatBody, readChunk, readComment, readModels, readServerError, ServerError } from './wire';

/** Sends a request to a path of the server with the page's credentials. */
export type Send = (path: string, init: RequestInit) => Promise<Response>;

export class HttpBackend implements Backend {
  constructor(private readonly _send: Send) {}

  async *chat(request: ChatRequest, signal: AbortSignal): AsyncGenerator<Delta, void> {
    const response = await this._checked('v1/chat/completions', { ...post(chatBody(request)), signal });
    if (!response.body) {
      throw new ServerError('The server sent no answer.');
    }
    for await (const event of readEvents(response.body)) {
      if (event.kind === 'comment') {
        const progress = readComment(event.text);
        if (progress) {
          yield progress;
        }
        continue;
      }
      const deltas = readChunk(event.data);
      if (deltas === null) {
        return;
      }
      yield* deltas;
    }
    throw new ServerError('The connection to the server was lost before the answer ended.');
  }

  async models(): Promise<Model[]> {
    const [tags, listed, running] = await Promise.all(
      ['api/tags', 'v1/models', 'api/ps'].map(path => this._json(path, { method: 'GET' }))
    );
    return readModels(tags, listed, running);
  }

  async memory(): Promise<Memory> {
    return readMemory(await this._json('v1/memory', { method: 'GET' }));
  }

  async load(name: string): Promise<void> {
    await this._json('api/generate', post({ model: name, stream: false }));
  }

  async unload(name: string): Promise<void> {
    await this._json('api/generate', post({ model: name, keep_alive: 0, stream: false }));
  }

  private async _json(path: string, init: RequestInit): Promise<unknown> {
    return (await this._checked(path, init)).json();
  }

  private async _checked(path: string, init: RequestInit): Promise<Response> {
    const response = await this._send(`pico/${path}`, init);
    if (!response.ok) {
      throw readServerError(response.status, await response.text());
    }
    return response;
  }
}

function post(body: unknown): RequestInit {
  return { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) };
}
