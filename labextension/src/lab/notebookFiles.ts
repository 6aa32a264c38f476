/** Reads files and folders of the server for the assistant. Relative paths begin in the notebook's folder. */

import { PathExt } from '@jupyterlab/coreutils';
import { Contents } from '@jupyterlab/services';
import { array } from '../model/json';
import { ToolError } from '../act/toolbox';

const MAX_ENTRIES = 200;

/** The text of a file. Throws a ToolError without one. */
export async function readFile(contents: Contents.IManager, folder: string, path: string): Promise<string> {
  const { content } = await get(contents, resolve(folder, path), { type: 'file', format: 'text', content: true }, `The text file ${path} cannot be read.`);
  return String(content);
}

/** The names in a folder, one in a line. Names of folders end with a slash. */
export async function listFiles(contents: Contents.IManager, folder: string, path: string): Promise<string> {
  const { content } = await get(contents, resolve(folder, path), { type: 'directory', content: true }, `The folder ${path || '.'} cannot be listed.`);
  const entries = array(content) as readonly Contents.IModel[];
  const names = entries.map(({ name, type }) => (type === 'directory' ? `${name}/` : name)).sort();
  const rest = names.length - MAX_ENTRIES;
  return [...names.slice(0, MAX_ENTRIES), ...(rest > 0 ? [`and ${rest} more`] : [])].join('\n') || 'The folder is empty.';
}

function resolve(folder: string, path: string): string {
  return path.startsWith('/') ? PathExt.normalize(path.slice(1)) : PathExt.join(folder, path);
}

async function get(contents: Contents.IManager, path: string, options: Contents.IFetchOptions, problem: string): Promise<Contents.IModel> {
  try {
    return await contents.get(path, options);
  } catch {
    throw new ToolError(`${problem} Use list_files to see the files that exist.`);
  }
}
