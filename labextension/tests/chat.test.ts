import { expect, test } from 'vitest';
import { Chat } from '../src/model/chat';
import { fileName, search } from '../src/model/library';
import { formatRoundedUp, formatRoundedDown, formatBytes } from '../src/model/memory';
import { Models } from '../src/model/models';
import { readTranscript } from '../src/model/transcript';
import { Clock, message, model, ScriptedBackend, settled, Browser, text } from './fakes';

interface Page {
  readonly chat: Chat;
  readonly clock: Clock;
  readonly backend: ScriptedBackend;
}

function openPage(street: Browser, name = 'page'): Page {
  const clock = new Clock(name);
  const backend = new ScriptedBackend();
  const models = new Models(backend, clock);
  return { chat: new Chat({ environment: clock, models, place: street.place(clock) }), clock, backend };
}

const said = (chat: Chat): string[] => chat.conversation.state.get().messages.map(({ content }) => content);

async function talk({ chat, backend }: Page, question: string, answer: string): Promise<void> {
  const done = chat.send(question);
  await settled();
  await backend.say(text(answer), 'end');
  await done;
}

test('a conversation becomes a file with its first question and follows it', async () => {
  const street = new Browser();
  const page = openPage(street);
  await talk(page, 'What is 1 + 1?', '2');
  page.clock.pass(1000);
  await settled();
  const [[name, content]] = [...street.drive.files];
  expect(name).toMatch(/^1970-01-01 00-16 page\d+\.json$/);
  expect(page.chat.state.get().file).toBe(name);
  expect(readTranscript(content)?.messages.map(entry => entry.content)).toEqual(['What is 1 + 1?', '2']);
});

test('a page that goes away in the middle of an answer loses nothing', async () => {
  const street = new Browser();
  const before = openPage(street);
  void before.chat.send('count');
  await settled();
  await before.backend.say(text('1, 2'));
  before.clock.pass(33);
  await before.backend.say(text(', 3'));
  before.clock.pass(33);
  before.chat.stashUnsaved();
  const after = openPage(street);
  expect(await after.chat.open(before.chat.state.get().file as string)).toBe(true);
  expect(said(after.chat)).toEqual(['count', '1, 2, 3']);
  expect(after.chat.conversation.state.get().messages[1].status).toBe('interrupted');
});

test('two pages on one conversation keep what both say', async () => {
  const street = new Browser();
  const one = openPage(street, 'one');
  await talk(one, 'a', 'A');
  one.clock.pass(1000);
  await settled();
  const two = openPage(street, 'two');
  await two.chat.open(one.chat.state.get().file as string);
  one.clock.pass(10);
  two.clock.pass(5000);
  await talk(two, 'b', 'B');
  await talk(one, 'c', 'C');
  two.clock.pass(1000);
  await settled();
  one.clock.pass(1000);
  await settled();
  two.clock.pass(1000);
  await settled();
  const all = ['a', 'A', 'c', 'C', 'b', 'B'];
  expect(said(one.chat)).toEqual(all);
  expect(said(two.chat)).toEqual(all);
  const [content] = street.drive.files.values();
  expect(readTranscript(content)?.messages.map(entry => entry.content)).toEqual(all);
});

test('an answer that runs goes on into its file when another conversation begins', async () => {
  const street = new Browser();
  const page = openPage(street);
  void page.chat.send('long');
  await settled();
  const file = page.chat.state.get().file as string;
  page.chat.begin();
  expect(said(page.chat)).toEqual([]);
  await page.backend.say(text('done'), 'end');
  page.clock.pass(1000);
  await settled();
  await page.chat.open(file);
  expect(said(page.chat)).toEqual(['long', 'done']);
});

test('an answer to which nobody can come back is stopped when another conversation begins', async () => {
  const clock = new Clock();
  const backend = new ScriptedBackend();
  const chat = new Chat({ environment: clock, models: new Models(backend, clock) });
  const done = chat.send('long');
  await settled();
  chat.begin();
  await done;
  expect(backend.aborted).toBe(1);
});

test('a chat that hears late where conversations are kept goes on in the file that it had', async () => {
  const street = new Browser();
  const before = openPage(street, 'before');
  await talk(before, 'a', 'A');
  before.clock.pass(1000);
  await settled();
  const file = before.chat.state.get().file as string;
  const { messages } = before.chat.conversation.state.get();
  const clock = new Clock('after');
  const backend = new ScriptedBackend();
  const chat = new Chat({ environment: clock, models: new Models(backend, clock), messages: messages.slice(0, 1) });
  expect(chat.library).toBeNull();
  clock.pass(5000);
  // Somebody may be quicker than the server.
  const asked = chat.send('b');
  await chat.setStorage(street.place(clock), file);
  await backend.say(text('B'), 'end');
  await asked;
  await chat.flush();
  expect(said(chat)).toEqual(['a', 'A', 'b', 'B']);
  expect(chat.state.get()).toMatchObject({ file });
  expect(readTranscript(street.drive.files.get(file) ?? '')).toMatchObject({ title: 'a', messages: { length: 4 } });
  expect(street.drive.files.size).toBe(1);
  chat.begin([message('other')]);
  await chat.setStorage(street.place(clock), file);
  expect(said(chat)).toEqual(['other']);
  expect(chat.state.get().file).toBeNull();
});

test('a disk that is full is told, and tried again', async () => {
  const street = new Browser();
  street.drive.failing = true;
  const page = openPage(street);
  await talk(page, 'a', 'A');
  page.clock.pass(1000);
  await settled();
  expect(page.chat.state.get().saveError).toBe('the disk is full');
  street.drive.failing = false;
  page.clock.pass(1000);
  await settled();
  expect(page.chat.state.get().saveError).toBeNull();
  expect(street.drive.files.size).toBe(1);
});

test('conversations are listed, found, renamed and deleted', async () => {
  const street = new Browser();
  const page = openPage(street);
  await talk(page, 'apples', 'red');
  page.chat.begin();
  page.clock.pass(5000);
  await talk(page, 'pears', 'green');
  page.clock.pass(1000);
  await settled();
  const library = page.chat.library;
  await library?.refresh();
  const entries = library?.state.get().entries ?? [];
  expect(entries.map(({ title }) => title)).toEqual(['pears', 'apples']);
  expect(search(entries, 'RED app').map(({ title }) => title)).toEqual(['apples']);
  await page.chat.rename(entries[1].name, 'Fruit');
  expect(library?.state.get().entries.map(({ title }) => title)).toContain('Fruit');
  await page.chat.remove(entries[0].name);
  expect(library?.state.get().entries.map(({ title }) => title)).toEqual(['Fruit']);
  expect(said(page.chat)).toEqual([]);
});

test('a conversation that is deleted while it is answered does not come back', async () => {
  const street = new Browser();
  const page = openPage(street);
  void page.chat.send('long');
  await settled();
  await page.backend.say(text('much'));
  page.clock.pass(1000);
  await settled();
  const [name] = street.drive.files.keys();
  await page.chat.remove(name);
  page.clock.pass(5000);
  await settled();
  expect(page.backend.aborted).toBe(1);
  expect(street.drive.files.size).toBe(0);
});

test('the switch is not sent to models that have none', async () => {
  const page = openPage(new Browser());
  page.backend.list = [model('plain', { capabilities: [] })];
  page.chat.setReasoning('on');
  await talk(page, 'a', 'A');
  expect(page.backend.requests[0].reasoning).toBe('default');
});

test('attachments go with the next message', async () => {
  const page = openPage(new Browser());
  page.chat.attach([{ kind: 'text', name: 'x', data: '1' }]);
  page.chat.attach([{ kind: 'text', name: 'y', data: '2' }]);
  page.chat.detach(page.chat.state.get().attachments[0].id);
  await talk(page, '', 'A');
  expect(page.chat.conversation.state.get().messages[0].attachments).toMatchObject([{ name: 'y' }]);
  expect(page.chat.state.get().attachments).toEqual([]);
});

test('what the model cannot see is not attached, and that is told until it can', async () => {
  const page = openPage(new Browser());
  page.backend.list = [model('blind'), model('seeing', { capabilities: ['vision'] })];
  await page.chat.models.ready();
  const picture = { kind: 'image', name: 'x.png', data: 'data:' } as const;
  page.chat.attach([picture, { kind: 'text', name: 'x.py', data: '1' }]);
  expect(page.chat.state.get()).toMatchObject({ attachments: [{ name: 'x.py' }], rejected: { name: 'x.png' } });
  page.chat.models.choose('seeing');
  page.chat.attach([picture]);
  expect(page.chat.state.get()).toMatchObject({ attachments: [{ name: 'x.py' }, { name: 'x.png' }], rejected: null });
});

test('a model is chosen by itself: the preferred one, one in memory, any', async () => {
  const backend = new ScriptedBackend();
  backend.list = [model('a'), model('b', { resident: 1 }), model('c')];
  const chosen = async (preferred: string): Promise<string> => new Models(backend, new Clock(), preferred).ready();
  expect(await chosen('c')).toBe('c');
  expect(await chosen('gone')).toBe('b');
  backend.list = [model('a')];
  expect(await chosen('')).toBe('a');
});

test('names and sizes are for people', () => {
  const transcript = { id: 'x1', title: 'secret', titled: 0, created: 0, messages: [message('m')], removed: [] };
  expect(fileName(transcript)).toBe('1970-01-01 00-00 x1.json');
  expect([12, 2_500, 3_400_000, 45_000_000_000].map(formatBytes)).toEqual(['12 B', '2.5 kB', '3.4 MB', '45 GB']);
  expect([999, 2_540, 9_990_000, 45_600_000_000].map(formatRoundedUp)).toEqual(['999 B', '2.6 kB', '10 MB', '46 GB']);
  expect([999, 2_540, 9_990_000, 45_600_000_000].map(formatRoundedDown)).toEqual(['999 B', '2.5 kB', '9.9 MB', '45 GB']);
});
