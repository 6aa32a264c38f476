import { expect, test } from 'vitest';
import { HttpFolder } from '../src/model/httpFolder';
import { Send } from '../src/model/requests';
import { object, parseJson } from '../src/model/json';

/** A contents API over a map of texts; a folder's value is null. */
class Server {
  readonly files = new Map<string, string | null>([['', null]]);
  readonly asked: string[] = [];
  /** The requests for paths that do not exist. Browsers log an error for each. */
  readonly missing: string[] = [];

  readonly send: Send = async (url, init) => {
    this.asked.push(`${init.method} ${url}`);
    const path = decodeURIComponent(/^api\/contents\/([^?]*)/.exec(url)?.[1] ?? '');
    const body = object(parseJson(String(init.body ?? '')));
    if (init.method === 'PUT') {
      this.files.set(path, body.type === 'directory' ? null : String(body.content));
    } else if (!this.files.has(path)) {
      this.missing.push(path);
      return new Response('{"message": "No such file"}', { status: 404 });
    }
    if (init.method === 'DELETE') {
      this.files.delete(path);
      return new Response(null, { status: 204 });
    }
    return Response.json({ name: path.split('/').at(-1), last_modified: 'now', content: this.files.get(path) ?? this._list(path) });
  };

  private _list(folder: string): unknown[] {
    const entries = [...this.files].filter(([path]) => path && path.split('/').slice(0, -1).join('/') === folder);
    return entries.map(([path, text]) => ({ name: path.split('/').at(-1), last_modified: 'now', type: text === null ? 'directory' : 'file' }));
  }
}

test('files are written into a new folder, read, listed and removed', async () => {
  const server = new Server();
  const folder = new HttpFolder(server.send, 'my chats/all');
  expect(await folder.list()).toEqual([]);
  expect(await folder.read('a b?.json')).toBeNull();
  expect(await folder.write('a b?.json', 'text')).toBe('now');
  expect([...server.files.keys()]).toEqual(['', 'my chats', 'my chats/all', 'my chats/all/a b?.json']);
  expect(await folder.stamp('a b?.json')).toBe('now');
  expect(await folder.read('a b?.json')).toBe('text');
  expect((await folder.list()).map(({ name }) => name)).toEqual(['a b?.json']);
  await folder.remove('a b?.json');
  await folder.remove('a b?.json');
  expect(server.files.has('my chats/all/a b?.json')).toBe(false);
  expect(server.asked).toContain('PUT api/contents/my%20chats/all/a%20b%3F.json');
});

test('no missing path is asked for when a file is written into a new or an existing folder', async () => {
  const server = new Server();
  await new HttpFolder(server.send, 'a/b').list();
  await new HttpFolder(server.send, 'a/b').write('c.json', 'text');
  await new HttpFolder(server.send, 'a/b').write('d.json', 'text');
  expect(server.missing).toEqual([]);
  expect(server.asked.filter(request => /PUT .*\/b$/.test(request))).toHaveLength(1);
});

test('an error of the server is raised with its message', async () => {
  const fail: Send = async () => new Response('{"message": "The disk is full"}', { status: 507 });
  await expect(new HttpFolder(fail, 'Chats').write('a', 'b')).rejects.toThrow('The disk is full');
});
