/** Stores conversations in a folder of the Jupyter server, over the HTTP contents API. */

import { ConversationFolder, FolderFile } from './storage';
import { Send } from './requests';
import { array, Json, object, parseJson, string } from './json';
import { readServerError } from './wire';

export class HttpFolder implements ConversationFolder {
  constructor(
    private readonly _send: Send,
    private readonly _folder: string
  ) {}

  async list(): Promise<FolderFile[]> {
    const files = (await this._exists()) ? await this._list(this._folder) : [];
    return files
      .filter(({ type }) => type !== 'directory')
      .map(file => ({ name: string(file.name), stamp: string(file.last_modified) }));
  }

  async stamp(name: string): Promise<string | null> {
    const file = await this._get(name, 'content=0');
    return file && string(file.last_modified);
  }

  async read(name: string): Promise<string | null> {
    const file = await this._get(name, 'content=1&type=file&format=text');
    return file && string(file.content);
  }

  async write(name: string, text: string): Promise<string> {
    await this._ensureFolder();
    return string((await this._put(this._path(name), { type: 'file', format: 'text', content: text })).last_modified);
  }

  async remove(name: string): Promise<void> {
    const response = await this._ask(this._path(name), { method: 'DELETE' });
    if (response.status !== 404) {
      await readJson(response);
    }
  }

  private async _ensureFolder(): Promise<void> {
    if (!(await this._exists())) {
      const parts = this._folder.split('/');
      for (let count = 1; count <= parts.length; count += 1) {
        await this._put(parts.slice(0, count).join('/'), { type: 'directory' });
      }
    }
    this._isKnown = true;
  }

  /** Whether the folder exists. Reads its parents, because browsers log an error for each request of a missing path. */
  private async _exists(): Promise<boolean> {
    const parts = this._isKnown ? [] : this._folder.split('/').filter(Boolean);
    for (const [count, part] of parts.entries()) {
      const files = await this._list(parts.slice(0, count).join('/'));
      if (!files.some(({ name, type }) => name === part && type === 'directory')) {
        return false;
      }
    }
    this._isKnown = true;
    return true;
  }

  /** The files and folders in a folder; none if it does not exist. */
  private async _list(path: string): Promise<Json[]> {
    const response = await this._ask(path, { method: 'GET' }, '?content=1');
    return response.status === 404 ? [] : array((await readJson(response)).content).map(object);
  }

  /** null if the path does not exist. */
  private async _get(name: string, query: string): Promise<Json | null> {
    const response = await this._ask(this._path(name), { method: 'GET' }, `?${query}`);
    return response.status === 404 ? null : readJson(response);
  }

  private async _put(path: string, body: Json): Promise<Json> {
    const headers = { 'Content-Type': 'application/json' };
    return readJson(await this._ask(path, { method: 'PUT', headers, body: JSON.stringify(body) }));
  }

  private _ask(path: string, init: RequestInit, query = ''): Promise<Response> {
    return this._send(`api/contents/${path.split('/').map(encodeURIComponent).join('/')}${query}`, init);
  }

  private _path(name: string): string {
    return [this._folder, name].filter(Boolean).join('/');
  }

  private _isKnown = false;
}

/** The JSON body. Throws a ServerError for a failed request. */
async function readJson(response: Response): Promise<Json> {
  const text = await response.text();
  if (!response.ok) {
    throw readServerError(response.status, text);
  }
  return object(parseJson(text));
}
