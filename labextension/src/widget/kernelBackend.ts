/** The backend in the notebook's kernel, for pages that cannot reach a server with pico_jupyter. */

import { SkippedFolder } from '../model/hub';
import { Json, object, string } from '../model/json';
import { Memory, readMemory } from '../model/memory';
import { Backend, ChatRequest, Delta, Model } from '../model/types';
import { ServerError } from '../model/wire';
import { WidgetModel } from './widgetModel';

export class KernelBackend implements Backend {
  constructor(
    private readonly _model: WidgetModel,
    private readonly _newId: () => string
  ) {}

  async *chat(request: ChatRequest, signal: AbortSignal): AsyncGenerator<Delta, void> {
    signal.throwIfAborted();
    if (request.tools) {
      throw new ServerError('Act needs a Jupyter server with pico_jupyter.');
    }
    const call = new KernelCall(this._model, this._newId(), signal);
    try {
      call.send('chat', { ...request });
      for (let reply = await call.next(); reply.type !== 'done'; reply = await call.next()) {
        yield* reply.pieces as Delta[];
      }
    } finally {
      call.end();
    }
  }

  async models(): Promise<Model[]> {
    return (await this._ask('models', {})).models as Model[];
  }

  async memory(): Promise<Memory> {
    return readMemory((await this._ask('memory', {})).memory);
  }

  async load(name: string): Promise<void> {
    await this._ask('load', { name });
  }

  async unload(name: string): Promise<void> {
    await this._ask('unload', { name });
  }

  async skipped(): Promise<SkippedFolder[]> {
    return [];
  }

  async hub(): Promise<null> {
    return null;
  }

  private async _ask(type: string, content: Json): Promise<Json> {
    const call = new KernelCall(this._model, this._newId());
    try {
      call.send(type, content);
      return await call.next();
    } finally {
      call.end();
    }
  }
}

/** One request to the kernel and its replies. */
class KernelCall {
  constructor(
    private readonly _model: WidgetModel,
    private readonly _id: string,
    private readonly _signal?: AbortSignal
  ) {
    _model.on('msg:custom', this._receive);
    _signal?.addEventListener('abort', this._abort);
  }

  send(type: string, content: Json): void {
    this._model.send({ type, id: this._id, content });
  }

  /** Waits for the next reply. Rejects if the kernel reports a failure or the call is aborted. */
  async next(): Promise<Json> {
    while (!this._received.length) {
      this._signal?.throwIfAborted();
      await new Promise<void>(resolve => (this._wake = resolve));
    }
    const reply = this._received.shift() ?? {};
    if (reply.type === 'failed') {
      throw new ServerError(string(reply.message));
    }
    return reply;
  }

  end(): void {
    this._model.off('msg:custom', this._receive);
    this._signal?.removeEventListener('abort', this._abort);
  }

  private readonly _receive = (content: unknown): void => {
    const reply = object(content);
    if (reply.id === this._id) {
      this._received.push(reply);
      this._wake();
    }
  };

  private readonly _abort = (): void => {
    this.send('abort', {});
    this._wake();
  };

  private readonly _received: Json[] = [];
  private _wake: () => void = () => undefined;
}
