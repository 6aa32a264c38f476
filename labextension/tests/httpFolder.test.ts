import { expect, test } from 'vitest';
import { HttpFolder } from '../src/model/httpFolder';
import { Send } from '../src/model/httpBackend';
import { object, parseJson } from '../src/model/json';

/** A contents API over a map of texts; a folder's value is null. */
class Server {
  readonly files = new Map<string, string | null>([['', null]]);
  readonly asked: string[] = [];

  readonly send: Send = async (url, init) => {
    this.asked.push(`${init.method} ${url}`);
    const path = decodeURIComponent(/^api\/contents\/([^?]*)/.exec(url)?.[1] ?? '');
    const body = object(parseJson(String(init.body ?? '')));
    if (init.method === 'PUT') {
      this.files.set(path, body.type === 'directory' ? null : String(body.content));
    } else if (!this.files.has(path)) {
      return new Response('{"message": "No such file"}', { status: 404 });
    }
    if (init.method === 'DELETE') {
      this.files.delete(path);
      return new Response(null, { status: 204 });
    }
    return Response.json({ name: path.split('/').at(-1), last_modified: 'now', content: this.files.get(path) ?? this._list() });
  };

  private _list(): unknown[] {
    return [...this.files].map(([name, text]) => ({ name, last_modified: 'now', type: text === null ? 'directory' : 'file' }));
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
  expect((await folder.list()).map(({ name }) => name)).toEqual(['my chats/all/a b?.json']);
  await folder.remove('a b?.json');
  await folder.remove('a b?.json');
  expect(server.files.has('my chats/all/a b?.json')).toBe(false);
  expect(server.asked).toContain('PUT api/contents/my%20chats/all/a%20b%3F.json');
});

test('an error of the server is raised with its message', async () => {
  const fail: Send = async () => new Response('{"message": "The disk is full"}', { status: 507 });
  await expect(new HttpFolder(fail, 'Chats').write('a', 'b')).rejects.toThrow('The disk is full');
});
