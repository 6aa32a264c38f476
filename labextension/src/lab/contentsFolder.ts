/** Stores conversations in a folder of the Jupyter server, through JupyterLab's contents manager. */

import { PathExt } from '@jupyterlab/coreutils';
import { Contents, ServerConnection } from '@jupyterlab/services';
import { ConversationFolder, FolderFile } from '../model/storage';

export class ContentsFolder implements ConversationFolder {
  /** `folder` is called for each request, so that a changed setting applies at once. */
  constructor(
    private readonly _contents: Contents.IManager,
    private readonly _folder: () => string
  ) {}

  async list(): Promise<FolderFile[]> {
    const models = (await this._exists()) ? await listFolder(this._contents, this._folder()) : [];
    return models.filter(({ type }) => type !== 'directory').map(model => ({ name: model.name, stamp: model.last_modified }));
  }

  async stamp(name: string): Promise<string | null> {
    return (await orNull(this._contents.get(this._path(name), { content: false })))?.last_modified ?? null;
  }

  async read(name: string): Promise<string | null> {
    const file = await orNull(this._contents.get(this._path(name), { content: true, type: 'file', format: 'text' }));
    return file === null ? null : String(file.content);
  }

  async write(name: string, text: string): Promise<string> {
    await this._ensureFolder();
    return (await this._contents.save(this._path(name), { type: 'file', format: 'text', content: text })).last_modified;
  }

  async remove(name: string): Promise<void> {
    await orNull(this._contents.delete(this._path(name)));
  }

  private async _ensureFolder(): Promise<void> {
    const folder = this._folder();
    if (!(await this._exists())) {
      const parts = folder.split('/').filter(Boolean);
      for (let count = 1; count <= parts.length; count += 1) {
        await this._contents.save(parts.slice(0, count).join('/'), { type: 'directory' });
      }
    }
    this._existing = folder;
  }

  /** Whether the folder exists. Reads its parents, because browsers log an error for each request of a missing path. */
  private async _exists(): Promise<boolean> {
    const folder = this._folder();
    const parts = folder === this._existing ? [] : folder.split('/').filter(Boolean);
    for (const [count, part] of parts.entries()) {
      const models = await listFolder(this._contents, parts.slice(0, count).join('/'));
      if (!models.some(({ name, type }) => name === part && type === 'directory')) {
        return false;
      }
    }
    this._existing = folder;
    return true;
  }

  private _path(name: string): string {
    return PathExt.join(this._folder(), name);
  }

  /** The folder that is known to exist. */
  private _existing = '';
}

/** The files and folders in a folder; none if it does not exist. */
export async function listFolder(contents: Contents.IManager, path: string): Promise<readonly Contents.IModel[]> {
  const folder = await orNull(contents.get(path, { content: true }));
  return (folder?.content ?? []) as readonly Contents.IModel[];
}

/** Resolves to null for a path that does not exist. */
export async function orNull<T>(request: Promise<T>): Promise<T | null> {
  try {
    return await request;
  } catch (error) {
    if (error instanceof ServerConnection.ResponseError && error.response.status === 404) {
      return null;
    }
    throw error;
  }
}
