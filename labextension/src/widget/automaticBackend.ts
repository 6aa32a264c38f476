/** Finds where models run: at the page's own Jupyter server if it has the endpoints, else in the kernel. */

import { HttpBackend } from '../model/httpBackend';
import { Memory } from '../model/memory';
import { Backend, ChatRequest, Model, Delta } from '../model/types';
import { hasPicoEndpoints, PageServer } from './pageServer';

export type Transport = 'http' | 'kernel';

/** Decides at the first request. */
export class AutomaticBackend implements Backend {
  constructor(
    private readonly _server: PageServer | null,
    private readonly _kernel: Backend,
    private readonly _onTransport: (transport: Transport) => void
  ) {}

  async *chat(request: ChatRequest, signal: AbortSignal): AsyncGenerator<Delta, void> {
    yield* (await this._backend()).chat(request, signal);
  }

  async models(): Promise<Model[]> {
    return (await this._backend()).models();
  }

  async memory(): Promise<Memory> {
    return (await this._backend()).memory();
  }

  async load(name: string): Promise<void> {
    await (await this._backend()).load(name);
  }

  async unload(name: string): Promise<void> {
    await (await this._backend()).unload(name);
  }

  private _backend(): Promise<Backend> {
    this._found ??= this._find();
    return this._found;
  }

  private async _find(): Promise<Backend> {
    if (this._server && (await hasPicoEndpoints(this._server))) {
      this._onTransport('http');
      return new HttpBackend(this._server.send);
    }
    this._onTransport('kernel');
    return this._kernel;
  }

  private _found: Promise<Backend> | undefined;
}
