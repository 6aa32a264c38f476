/** Finds where models run: at the page's own Jupyter server if it has the endpoints, else in the kernel. */

import { HttpBackend, Send } from '../model/http';
import { object, parseJson, string } from '../model/json';
import { Memory } from '../model/memory';
import { Backend, ChatRequest, Model, Piece } from '../model/types';

export type Transport = 'http' | 'kernel';

/** Decides at the first request. */
export class FoundBackend implements Backend {
  constructor(
    private readonly _kernel: Backend,
    private readonly _onFound: (transport: Transport) => void
  ) {}

  async *chat(request: ChatRequest, signal: AbortSignal): AsyncGenerator<Piece, void> {
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
    const send = pageSend();
    if (send && (await answers(send))) {
      this._onFound('http');
      return new HttpBackend(send);
    }
    this._onFound('kernel');
    return this._kernel;
  }

  private _found: Promise<Backend> | undefined;
}

async function answers(send: Send): Promise<boolean> {
  try {
    const response = await send('pico/v1/models', { method: 'GET' });
    return response.ok && (response.headers.get('content-type') ?? '').includes('json');
  } catch {
    return false;
  }
}

/** Requests to the server that the page came from, with the page's credentials; null on pages of nobody's. */
function pageSend(): Send | null {
  const element = document.getElementById('jupyter-config-data');
  const config = object(parseJson(element?.textContent ?? ''));
  const base = string(config.baseUrl);
  if (!base) {
    return null;
  }
  const token = string(config.token);
  return (path, init) => {
    const headers = new Headers(init.headers);
    if (token) {
      headers.set('Authorization', `token ${token}`);
    }
    const xsrf = /(?:^|;\s*)_xsrf=([^;]*)/.exec(document.cookie)?.[1];
    if (xsrf) {
      headers.set('X-XSRFToken', xsrf);
    }
    const url = new URL(path, new URL(base, location.origin));
    return fetch(url, { ...init, headers, credentials: 'same-origin', cache: 'no-store' });
  };
}
