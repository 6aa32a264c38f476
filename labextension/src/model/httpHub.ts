/** Gets and deletes models over HTTP. */

import { Download, HubModel, ModelHub, readDownloads, readHubModel, readHubModels, readRecommendation, Recommendation } from './hub';
import { checkedRequest, post, Send, withBody } from './requests';

const GET = { method: 'GET' };

export class HttpHub implements ModelHub {
  constructor(private readonly _send: Send) {}

  async downloads(): Promise<Download[]> {
    return readDownloads(await this._json('downloads'));
  }

  async download(model: string): Promise<void> {
    await this._request('downloads', post({ model }));
  }

  async pause(model: string): Promise<void> {
    await this._request(`downloads/${path(model)}`, withBody('PATCH', { state: 'paused' }));
  }

  async cancel(model: string): Promise<void> {
    await this._request(`downloads/${path(model)}`, { method: 'DELETE' });
  }

  async recommended(): Promise<Recommendation> {
    return readRecommendation(await this._json('hub/recommended'));
  }

  async search(words: string, limit: number): Promise<HubModel[]> {
    return readHubModels(await this._json(`hub/search?q=${encodeURIComponent(words)}&limit=${limit}`));
  }

  async describe(model: string): Promise<HubModel> {
    return readHubModel(await this._json(`hub/models/${path(model)}`));
  }

  async remove(name: string): Promise<void> {
    await this._request('api/delete', withBody('DELETE', { model: name }));
  }

  private async _json(path: string): Promise<unknown> {
    return (await this._request(path, GET)).json();
  }

  private _request(path: string, init: RequestInit): Promise<Response> {
    return checkedRequest(this._send, path, init);
  }
}

/** `owner/name` as a part of a URL. */
function path(model: string): string {
  return model.split('/').map(encodeURIComponent).join('/');
}
