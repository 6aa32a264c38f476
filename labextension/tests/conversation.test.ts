import { expect, test } from 'vitest';
import { Conversation, titleOf } from '../src/model/conversation';
import { Message, Transcript } from '../src/model/types';
import { Clock, message, reasoning, ScriptedBackend, settled, text } from './fakes';

interface Stage {
  readonly clock: Clock;
  readonly backend: ScriptedBackend;
  readonly conversation: Conversation;
  last(): Message;
}

function stage(messages?: readonly Message[]): Stage {
  const clock = new Clock();
  const backend = new ScriptedBackend();
  const transcript: Transcript | undefined = messages && { id: 'c', title: 't', titled: 0, created: 0, messages, removed: [] };
  const settings = async (): ReturnType<Conversation['_options']['settings']> => ({
    model: 'tiny',
    reasoning: 'on',
    system: 's',
    temperature: 0
  });
  const conversation = new Conversation({ backend, environment: clock, settings, transcript });
  return { clock, backend, conversation, last: () => conversation.state.get().messages.at(-1) as Message };
}

test('an answer grows, thinking apart, and tells what it took', async () => {
  const { clock, backend, conversation, last } = stage();
  const done = conversation.send('hello');
  await settled();
  expect(conversation.state.get()).toMatchObject({ busy: true, title: 'hello' });
  expect(backend.requests).toMatchObject([{ model: 'tiny', reasoning: 'on', system: 's', temperature: 0, continues: false }]);
  expect(last()).toMatchObject({ model: 'tiny', content: '' });
  clock.pass(100);
  await backend.say(reasoning('hm'));
  expect(last()).toMatchObject({ reasoning: 'hm', content: '', status: 'streaming', firstMs: 100 });
  clock.pass(200);
  await backend.say(reasoning(' so'), text('Hi'));
  clock.pass(50);
  await backend.say(text('!'), { kind: 'finish', reason: 'stop' });
  await backend.say({ kind: 'usage', stats: { promptTokens: 1, completionTokens: 4, reasoningTokens: 2 } }, 'end');
  await done;
  expect(last()).toMatchObject({ reasoning: 'hm so', content: 'Hi!', status: 'done', thinkingMs: 200, decodeMs: 250, finish: 'stop' });
  expect(last().writer).toBeUndefined();
  expect(conversation.state.get().busy).toBe(false);
});

test('the first text is shown at once, later ones thirty times a second at most', async () => {
  const { clock, backend, conversation, last } = stage();
  void conversation.send('hello');
  await settled();
  await backend.say(text('a'));
  expect(last().content).toBe('a');
  await backend.say(text('b'), text('c'));
  expect(last().content).toBe('a');
  clock.pass(33);
  expect(last().content).toBe('abc');
});

test('stop closes the stream and keeps what came', async () => {
  const { backend, conversation, last } = stage();
  const done = conversation.send('hello');
  await settled();
  await backend.say(text('Hi'), text(' the'));
  conversation.stop();
  await done;
  expect(backend.aborted).toBe(1);
  expect(last()).toMatchObject({ content: 'Hi the', status: 'stopped' });
});

test('stop ends the wait for a server that is away', async () => {
  const backend = new ScriptedBackend();
  const conversation = new Conversation({ backend, environment: new Clock(), settings: () => new Promise(() => undefined) });
  const done = conversation.send('hello');
  await settled();
  conversation.stop();
  await done;
  expect(conversation.state.get()).toMatchObject({ busy: false, messages: [{}, { status: 'stopped' }] });
  expect(backend.requests).toEqual([]);
});

test('a failure is told with the answer, and retried in its place', async () => {
  const { backend, conversation, last } = stage();
  const done = conversation.send('hello');
  await settled();
  await backend.say(new Error('out of memory'));
  await done;
  expect(last()).toMatchObject({ status: 'failed', error: 'out of memory' });
  const failed = last().id;
  const again = conversation.regenerate(failed);
  await settled();
  await backend.say(text('Hi'), 'end');
  await again;
  expect(conversation.state.get().messages).toHaveLength(2);
  expect(conversation.state.get().removed).toEqual([failed]);
  expect(last()).toMatchObject({ content: 'Hi', status: 'done' });
});

test('an edited question is answered again, and what came after is gone', async () => {
  const { backend, conversation } = stage([message('a', { created: 1 }), message('b', { role: 'assistant', created: 2 }), message('c', { created: 3 })]);
  const done = conversation.edit('a', 'other');
  await settled();
  await backend.say(text('yes'), 'end');
  await done;
  const { messages, removed } = conversation.state.get();
  expect(messages.map(({ content }) => content)).toEqual(['other', 'yes']);
  expect(removed).toEqual(['b', 'c']);
});

test('an interrupted answer goes on where it ended', async () => {
  const { backend, conversation, last } = stage([message('q'), message('a', { role: 'assistant', content: '1, 2', status: 'interrupted', created: 2 })]);
  const done = conversation.continue('a');
  await settled();
  expect(backend.requests[0]).toMatchObject({ continues: true });
  expect(backend.requests[0].messages.at(-1)?.content).toBe('1, 2');
  await backend.say(text(', 3'), 'end');
  await done;
  expect(last()).toMatchObject({ id: 'a', content: '1, 2, 3', status: 'done' });
});

test('an answer that was interrupted while it thought begins again', async () => {
  const { backend, conversation, last } = stage([message('q'), message('a', { role: 'assistant', content: '', reasoning: 'hm', status: 'interrupted', created: 2 })]);
  const done = conversation.continue('a');
  await settled();
  expect(backend.requests[0]).toMatchObject({ continues: false });
  await backend.say(reasoning('so'), text('3'), 'end');
  await done;
  expect(last()).toMatchObject({ id: 'a', reasoning: 'so', content: '3' });
});

test('a question waits for the answer that is running', async () => {
  const { backend, conversation } = stage();
  const first = conversation.send('one');
  const second = conversation.send('two');
  await settled();
  expect(backend.requests).toHaveLength(1);
  await backend.say(text('1'), 'end');
  await first;
  await settled();
  await backend.say(text('2'), 'end');
  await second;
  expect(conversation.state.get().messages.map(({ content }) => content)).toEqual(['one', '1', 'two', '2']);
});

test('while an answer runs, nothing is removed or replaced', async () => {
  const { conversation, last } = stage();
  void conversation.send('hello');
  await settled();
  conversation.remove(last().id);
  conversation.replace([]);
  expect(conversation.state.get().messages).toHaveLength(2);
});

test('progress before the first text is a share', async () => {
  const { backend, conversation } = stage();
  void conversation.send('hello');
  await settled();
  await backend.say({ kind: 'progress', done: 1, total: 4 });
  expect(conversation.state.get().progress).toBe(0.25);
});

test('titles are the first line, and short', () => {
  expect(titleOf(message('q', { content: 'What is this?\nmore' }))).toBe('What is this?');
  expect(titleOf(message('q', { content: 'x'.repeat(90) }))).toHaveLength(60);
});
