/** The backend over HTTP: a Jupyter server with pico_jupyter. The caller provides the function that sends requests. */

import { HttpHub } from './httpHub';
import { ModelHub, readSkipped, SkippedFolder } from './hub';
import { Memory, readMemory } from './memory';
import { checkedRequest, post, Send } from './requests';
import { readEvents } from './sse';
import { Backend, ChatRequest, Delta, Model } from './types';
import { chatBody, readChunk, readComment, readModels, ServerError } from './wire';

export class HttpBackend implements Backend {
  constructor(private readonly _send: Send) {}

  async *chat(request: ChatRequest, signal: AbortSignal): AsyncGenerator<Delta, void> {
    const response = await checkedRequest(this._send, 'v1/chat/completions', { ...post(chatBody(request)), signal });
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

  async skipped(): Promise<SkippedFolder[]> {
    return readSkipped(await this._json('skipped', { method: 'GET' }));
  }

  async hub(): Promise<ModelHub> {
    return new HttpHub(this._send);
  }

  private async _json(path: string, init: RequestInit): Promise<unknown> {
    return (await checkedRequest(this._send, path, init)).json();
  }
}
