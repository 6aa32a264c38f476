/** The server's files: read to be attached, chosen by the user, written by exports. */

import { PathExt } from '@jupyterlab/coreutils';
import { IDocumentManager } from '@jupyterlab/docmanager';
import { FileDialog } from '@jupyterlab/filebrowser';
import { Contents } from '@jupyterlab/services';
import { isLarge, attachmentKind, textCandidate } from '../model/candidates';
import { AttachmentCandidate } from '../model/types';
import { orNull } from './contentsFolder';

export async function pickFiles(documents: IDocumentManager, contents: Contents.IManager): Promise<readonly AttachmentCandidate[]> {
  const { value } = await FileDialog.getOpenFiles({ manager: documents });
  return readFiles(contents, (value ?? []).map(({ path }) => path));
}

/** Folders among the paths are left out. */
export async function readFiles(contents: Contents.IManager, paths: readonly string[]): Promise<readonly AttachmentCandidate[]> {
  const candidates = await Promise.all(paths.map(path => readFile(contents, path)));
  return candidates.filter(candidate => candidate !== null);
}

async function readFile(contents: Contents.IManager, path: string): Promise<AttachmentCandidate | null> {
  const { type, size, mimetype, name } = await contents.get(path, { content: false });
  if (type === 'directory') {
    return null;
  }
  const kind = attachmentKind(mimetype ?? '');
  if (isLarge(kind, size ?? 0)) {
    return { kind: 'large', name, data: '' };
  }
  const { content, format } = await contents.get(path, { content: true });
  if (kind !== 'text' && format === 'base64') {
    return { kind, name, data: `data:${mimetype};base64,${String(content).replace(/\s/g, '')}` };
  }
  if (format === 'base64') {
    return { kind: 'other', name, data: '' };
  }
  return textCandidate(name, typeof content === 'string' ? content : JSON.stringify(content, null, 1));
}

/** Writes a new file into the folder, under a name that is free, and returns its path. */
export async function writeExport(contents: Contents.IManager, folder: string, name: string, text: string): Promise<string> {
  const path = await freePath(contents, PathExt.join(folder, name));
  const isNotebook = name.endsWith('.ipynb');
  await contents.save(
    path,
    isNotebook ? { type: 'notebook', format: 'json', content: JSON.parse(text) } : { type: 'file', format: 'text', content: text }
  );
  return path;
}

async function freePath(contents: Contents.IManager, path: string): Promise<string> {
  const ending = PathExt.extname(path);
  const stem = path.slice(0, path.length - ending.length);
  let free = path;
  for (let count = 1; (await orNull(contents.get(free, { content: false }))) !== null; count += 1) {
    free = `${stem} ${count}${ending}`;
  }
  return free;
}
