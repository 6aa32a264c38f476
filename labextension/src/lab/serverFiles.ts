/** Picks and reads files of the server for attachments, and writes exports. */

import { PathExt } from '@jupyterlab/coreutils';
import { IDocumentManager } from '@jupyterlab/docmanager';
import { FileDialog } from '@jupyterlab/filebrowser';
import { Contents } from '@jupyterlab/services';
import { attachmentKind, exceedsLimit, textCandidate } from '../model/candidates';
import { AttachmentCandidate } from '../model/types';
import { listFolder } from './contentsFolder';

export async function pickFiles(documents: IDocumentManager, contents: Contents.IManager): Promise<readonly AttachmentCandidate[]> {
  const { value } = await FileDialog.getOpenFiles({ manager: documents });
  return readServerFiles(contents, (value ?? []).map(({ path }) => path));
}

/** Reads files as attachments. Skips folders. */
export async function readServerFiles(contents: Contents.IManager, paths: readonly string[]): Promise<readonly AttachmentCandidate[]> {
  const candidates = await Promise.all(paths.map(path => readServerFile(contents, path)));
  return candidates.filter(candidate => candidate !== null);
}

/** Reads one file. Returns null for a folder. The kinds `large` and `other` mark files that the chat rejects. */
async function readServerFile(contents: Contents.IManager, path: string): Promise<AttachmentCandidate | null> {
  const { type, size, mimetype, name } = await contents.get(path, { content: false });
  if (type === 'directory') {
    return null;
  }
  const kind = attachmentKind(mimetype ?? '');
  if (exceedsLimit(kind, size ?? 0)) {
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

/** Writes a new file into the folder under an unused name. Returns its path. */
export async function writeExport(contents: Contents.IManager, folder: string, name: string, text: string): Promise<string> {
  const path = PathExt.join(folder, await unusedName(contents, folder, name));
  const isNotebook = name.endsWith('.ipynb');
  await contents.save(
    path,
    isNotebook ? { type: 'notebook', format: 'json', content: JSON.parse(text) } : { type: 'file', format: 'text', content: text }
  );
  return path;
}

async function unusedName(contents: Contents.IManager, folder: string, name: string): Promise<string> {
  // File systems of Windows and macOS ignore case.
  const used = new Set((await listFolder(contents, folder)).map(file => file.name.normalize('NFC').toLowerCase()));
  const ending = PathExt.extname(name);
  const stem = name.slice(0, name.length - ending.length);
  let unused = name;
  for (let count = 1; used.has(unused.toLowerCase()); count += 1) {
    unused = `${stem} ${count}${ending}`;
  }
  return unused;
}
