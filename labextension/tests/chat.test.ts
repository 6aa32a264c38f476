import { expect, test } from 'vitest';
import { Chat } from '../src/model/chat';
import { fileName, search } from '../src/model/library';
import { formatBytes, formatRoundedDown, formatRoundedUp } from '../src/model/memory';
import { Models } from '../src/model/models';
import { readTranscript } from '../src/model/transcript';
import { Browser, Clock, flushPromises, message, model, ScriptedBackend, text } from './fakes';

interface Page {
  readonly chat: Chat;
  readonly clock: Clock;
  readonly backend: ScriptedBackend;
}

function openPage(browser: Browser, name = 'page'): Page {
  const clock = new Clock(name);
  const backend = new ScriptedBackend();
  const models = new Models(backend, clock);
  return { chat: new Chat({ environment: clock, models, storage: browser.storage(clock) }), clock, backend };
}

const contents = (chat: Chat): string[] => chat.conversation.state.get().messages.map(({ content }) => content);

async function exchange({ chat, backend }: Page, question: string, answer: string): Promise<void> {
  const done = chat.send(question);
  await flushPromises();
  await backend.send(text(answer), 'end');
  await done;
}

test('the first question creates the file of a conversation, and answers are saved to it', async () => {
  const browser = new Browser();
  const page = openPage(browser);
  await exchange(page, 'What is 1 + 1?', '2');
  page.clock.advance(1000);
  await flushPromises();
  const [[name, content]] = [...browser.folder.files];
  expect(name).toMatch(/^1970-01-01 00-16 page\d+\.json$/);
  expect(page.chat.state.get().file).toBe(name);
  expect(browser.folder.missing).toEqual([]);
  expect(readTranscript(content)?.messages.map(entry => entry.content)).toEqual(['What is 1 + 1?', '2']);
});

test('a page that closes during an answer loses nothing', async () => {
  const browser = new Browser();
  const before = openPage(browser);
  void before.chat.send('count');
  await flushPromises();
  await before.backend.send(text('1, 2'));
  before.clock.advance(33);
  await before.backend.send(text(', 3'));
  before.clock.advance(33);
  before.chat.stashUnsaved();
  const after = openPage(browser);
  expect(await after.chat.open(before.chat.state.get().file as string)).toBe(true);
  expect(contents(after.chat)).toEqual(['count', '1, 2, 3']);
  expect(after.chat.conversation.state.get().messages[1].status).toBe('interrupted');
});

test('two pages with the same conversation keep the messages of both', async () => {
  const browser = new Browser();
  const one = openPage(browser, 'one');
  await exchange(one, 'a', 'A');
  one.clock.advance(1000);
  await flushPromises();
  const two = openPage(browser, 'two');
  await two.chat.open(one.chat.state.get().file as string);
  one.clock.advance(10);
  two.clock.advance(5000);
  await exchange(two, 'b', 'B');
  await exchange(one, 'c', 'C');
  two.clock.advance(1000);
  await flushPromises();
  one.clock.advance(1000);
  await flushPromises();
  two.clock.advance(1000);
  await flushPromises();
  const all = ['a', 'A', 'c', 'C', 'b', 'B'];
  expect(contents(one.chat)).toEqual(all);
  expect(contents(two.chat)).toEqual(all);
  const [content] = browser.folder.files.values();
  expect(readTranscript(content)?.messages.map(entry => entry.content)).toEqual(all);
});

test('a running answer continues into its file when another conversation starts', async () => {
  const browser = new Browser();
  const page = openPage(browser);
  void page.chat.send('long');
  await flushPromises();
  const file = page.chat.state.get().file as string;
  page.chat.startConversation();
  expect(contents(page.chat)).toEqual([]);
  await page.backend.send(text('done'), 'end');
  page.clock.advance(1000);
  await flushPromises();
  await page.chat.open(file);
  expect(contents(page.chat)).toEqual(['long', 'done']);
});

test('an answer that is not saved is stopped when another conversation starts', async () => {
  const clock = new Clock();
  const backend = new ScriptedBackend();
  const chat = new Chat({ environment: clock, models: new Models(backend, clock) });
  const done = chat.send('long');
  await flushPromises();
  chat.startConversation();
  await done;
  expect(backend.aborted).toBe(1);
});

test('a chat that gets its storage late continues in the file that it had', async () => {
  const browser = new Browser();
  const before = openPage(browser, 'before');
  await exchange(before, 'a', 'A');
  before.clock.advance(1000);
  await flushPromises();
  const file = before.chat.state.get().file as string;
  const { messages } = before.chat.conversation.state.get();
  const clock = new Clock('after');
  const backend = new ScriptedBackend();
  const chat = new Chat({ environment: clock, models: new Models(backend, clock), messages: messages.slice(0, 1) });
  expect(chat.library).toBeNull();
  clock.advance(5000);
  // The user may send a message before the storage is known.
  const asked = chat.send('b');
  await chat.setStorage(browser.storage(clock), file);
  await backend.send(text('B'), 'end');
  await asked;
  await chat.flush();
  expect(contents(chat)).toEqual(['a', 'A', 'b', 'B']);
  expect(chat.state.get()).toMatchObject({ file });
  expect(readTranscript(browser.folder.files.get(file) ?? '')).toMatchObject({ title: 'a', messages: { length: 4 } });
  expect(browser.folder.files.size).toBe(1);
  chat.startConversation([message('other')]);
  await chat.setStorage(browser.storage(clock), file);
  expect(contents(chat)).toEqual(['other']);
  expect(chat.state.get().file).toBeNull();
});

test('a failed save is reported and retried', async () => {
  const browser = new Browser();
  browser.folder.failing = true;
  const page = openPage(browser);
  await exchange(page, 'a', 'A');
  page.clock.advance(1000);
  await flushPromises();
  expect(page.chat.state.get().saveError).toBe('the disk is full');
  browser.folder.failing = false;
  page.clock.advance(1000);
  await flushPromises();
  expect(page.chat.state.get().saveError).toBeNull();
  expect(browser.folder.files.size).toBe(1);
});

test('conversations are listed, searched, renamed and deleted', async () => {
  const browser = new Browser();
  const page = openPage(browser);
  await exchange(page, 'apples', 'red');
  page.chat.startConversation();
  page.clock.advance(5000);
  await exchange(page, 'pears', 'green');
  page.clock.advance(1000);
  await flushPromises();
  const library = page.chat.library;
  await library?.refresh();
  const entries = library?.state.get().entries ?? [];
  expect(entries.map(({ title }) => title)).toEqual(['pears', 'apples']);
  expect(search(entries, 'RED app').map(({ title }) => title)).toEqual(['apples']);
  await page.chat.rename(entries[1].name, 'Fruit');
  expect(library?.state.get().entries.map(({ title }) => title)).toContain('Fruit');
  await page.chat.remove(entries[0].name);
  expect(library?.state.get().entries.map(({ title }) => title)).toEqual(['Fruit']);
  expect(contents(page.chat)).toEqual([]);
});

test('a conversation that is deleted during an answer stays deleted', async () => {
  const browser = new Browser();
  const page = openPage(browser);
  void page.chat.send('long');
  await flushPromises();
  await page.backend.send(text('much'));
  page.clock.advance(1000);
  await flushPromises();
  const [name] = browser.folder.files.keys();
  await page.chat.remove(name);
  page.clock.advance(5000);
  await flushPromises();
  expect(page.backend.aborted).toBe(1);
  expect(browser.folder.files.size).toBe(0);
});

test('the reasoning switch is not sent to models without reasoning', async () => {
  const page = openPage(new Browser());
  page.backend.list = [model('plain', { capabilities: [] })];
  page.chat.setReasoning('on');
  await exchange(page, 'a', 'A');
  expect(page.backend.requests[0].reasoning).toBe('default');
});

test('attachments are sent with the next message', async () => {
  const page = openPage(new Browser());
  page.chat.attach([{ kind: 'text', name: 'x', data: '1' }]);
  page.chat.attach([{ kind: 'text', name: 'y', data: '2' }]);
  page.chat.detach(page.chat.state.get().attachments[0].id);
  await exchange(page, '', 'A');
  expect(page.chat.conversation.state.get().messages[0].attachments).toMatchObject([{ name: 'y' }]);
  expect(page.chat.state.get().attachments).toEqual([]);
});

test('an image is rejected until the chosen model accepts images', async () => {
  const page = openPage(new Browser());
  page.backend.list = [model('text-only'), model('vision', { capabilities: ['vision'] })];
  await page.chat.models.ready();
  const image = { kind: 'image', name: 'x.png', data: 'data:' } as const;
  page.chat.attach([image, { kind: 'text', name: 'x.py', data: '1' }]);
  expect(page.chat.state.get()).toMatchObject({ attachments: [{ name: 'x.py' }], rejected: { name: 'x.png' } });
  page.chat.models.choose('vision');
  page.chat.attach([image]);
  expect(page.chat.state.get()).toMatchObject({ attachments: [{ name: 'x.py' }, { name: 'x.png' }], rejected: null });
});

test('the preferred model is chosen first, then one in memory, then any', async () => {
  const backend = new ScriptedBackend();
  backend.list = [model('a'), model('b', { resident: 1 }), model('c')];
  const chosen = async (preferred: string): Promise<string> => new Models(backend, new Clock(), preferred).ready();
  expect(await chosen('c')).toBe('c');
  expect(await chosen('gone')).toBe('b');
  backend.list = [model('a')];
  expect(await chosen('')).toBe('a');
});

test('file names and sizes are readable', () => {
  const transcript = { id: 'x1', title: 'secret', titled: 0, created: 0, messages: [message('m')], removed: [] };
  expect(fileName(transcript)).toBe('1970-01-01 00-00 x1.json');
  expect([12, 2_500, 3_400_000, 45_000_000_000].map(formatBytes)).toEqual(['12 B', '2.5 kB', '3.4 MB', '45 GB']);
  expect([999, 2_540, 9_990_000, 45_600_000_000].map(formatRoundedUp)).toEqual(['999 B', '2.6 kB', '10 MB', '46 GB']);
  expect([999, 2_540, 9_990_000, 45_600_000_000].map(formatRoundedDown)).toEqual(['999 B', '2.5 kB', '9.9 MB', '45 GB']);
});
