/** Uses the page's own Jupyter server if it has pico_jupyter, else the notebook's kernel. */

import { HttpBackend } from '../model/httpBackend';
import { ModelHub, SkippedFolder } from '../model/hub';
import { Memory } from '../model/memory';
import { Backend, ChatRequest, Delta, Model } from '../model/types';
import { hasPicoEndpoints, PageServer } from './pageServer';

export type Transport = 'http' | 'kernel';

/** Chooses the transport at the first request, and calls `onTransport` with the choice. */
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

  async skipped(): Promise<SkippedFolder[]> {
    return (await this._backend()).skipped();
  }

  async hub(): Promise<ModelHub | null> {
    return (await this._backend()).hub();
  }

  private _backend(): Promise<Backend> {
    this._chosen ??= this._choose();
    return this._chosen;
  }

  private async _choose(): Promise<Backend> {
    if (this._server && (await hasPicoEndpoints(this._server))) {
      this._onTransport('http');
      return new HttpBackend(this._server.send);
    }
    this._onTransport('kernel');
    return this._kernel;
  }

  private _chosen: Promise<Backend> | undefined;
}
