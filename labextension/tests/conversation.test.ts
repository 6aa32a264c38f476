import { expect, test } from 'vitest';
import { Conversation, titleOf } from '../src/model/conversation';
import { Message, Transcript } from '../src/model/types';
import { Clock, flushPromises, message, reasoning, ScriptedBackend, text } from './fakes';

interface Setup {
  readonly clock: Clock;
  readonly backend: ScriptedBackend;
  readonly conversation: Conversation;
  last(): Message;
}

function setUp(messages?: readonly Message[]): Setup {
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

test('an answer grows, with separate reasoning, and has statistics at its end', async () => {
  const { clock, backend, conversation, last } = setUp();
  const done = conversation.send('hello');
  await flushPromises();
  expect(conversation.state.get()).toMatchObject({ busy: true, title: 'hello' });
  expect(backend.requests).toMatchObject([{ model: 'tiny', reasoning: 'on', system: 's', temperature: 0, continues: false }]);
  expect(last()).toMatchObject({ model: 'tiny', content: '' });
  clock.advance(100);
  await backend.send(reasoning('hm'));
  expect(last()).toMatchObject({ reasoning: 'hm', content: '', status: 'streaming', firstMs: 100 });
  clock.advance(200);
  await backend.send(reasoning(' so'), text('Hi'));
  clock.advance(50);
  await backend.send(text('!'), { kind: 'finish', reason: 'stop' });
  await backend.send({ kind: 'usage', stats: { promptTokens: 1, completionTokens: 4, reasoningTokens: 2 } }, 'end');
  await done;
  expect(last()).toMatchObject({ reasoning: 'hm so', content: 'Hi!', status: 'done', thinkingMs: 200, decodeMs: 250, finish: 'stop' });
  expect(last().writer).toBeUndefined();
  expect(conversation.state.get().busy).toBe(false);
});

test('the first text is shown at once, and later text at most thirty times a second', async () => {
  const { clock, backend, conversation, last } = setUp();
  void conversation.send('hello');
  await flushPromises();
  await backend.send(text('a'));
  expect(last().content).toBe('a');
  await backend.send(text('b'), text('c'));
  expect(last().content).toBe('a');
  clock.advance(33);
  expect(last().content).toBe('abc');
});

test('stop closes the stream and keeps the received text', async () => {
  const { backend, conversation, last } = setUp();
  const done = conversation.send('hello');
  await flushPromises();
  await backend.send(text('Hi'), text(' the'));
  conversation.stop();
  await done;
  expect(backend.aborted).toBe(1);
  expect(last()).toMatchObject({ content: 'Hi the', status: 'stopped' });
});

test('stop ends the wait for an unreachable server', async () => {
  const backend = new ScriptedBackend();
  const conversation = new Conversation({ backend, environment: new Clock(), settings: () => new Promise(() => undefined) });
  const done = conversation.send('hello');
  await flushPromises();
  conversation.stop();
  await done;
  expect(conversation.state.get()).toMatchObject({ busy: false, messages: [{}, { status: 'stopped' }] });
  expect(backend.requests).toEqual([]);
});

test('a failed answer has the error, and a retry replaces it', async () => {
  const { backend, conversation, last } = setUp();
  const done = conversation.send('hello');
  await flushPromises();
  await backend.send(new Error('out of memory'));
  await done;
  expect(last()).toMatchObject({ status: 'failed', error: 'out of memory' });
  const failed = last().id;
  const again = conversation.regenerate(failed);
  await flushPromises();
  await backend.send(text('Hi'), 'end');
  await again;
  expect(conversation.state.get().messages).toHaveLength(2);
  expect(conversation.state.get().removed).toEqual([failed]);
  expect(last()).toMatchObject({ content: 'Hi', status: 'done' });
});

test('an edited question is answered again, and all later messages are removed', async () => {
  const { backend, conversation } = setUp([message('a', { created: 1 }), message('b', { role: 'assistant', created: 2 }), message('c', { created: 3 })]);
  const done = conversation.edit('a', 'other');
  await flushPromises();
  await backend.send(text('yes'), 'end');
  await done;
  const { messages, removed } = conversation.state.get();
  expect(messages.map(({ content }) => content)).toEqual(['other', 'yes']);
  expect(removed).toEqual(['b', 'c']);
});

test('an interrupted answer continues where it ended', async () => {
  const { backend, conversation, last } = setUp([message('q'), message('a', { role: 'assistant', content: '1, 2', status: 'interrupted', created: 2 })]);
  const done = conversation.continue('a');
  await flushPromises();
  expect(backend.requests[0]).toMatchObject({ continues: true });
  expect(backend.requests[0].messages.at(-1)?.content).toBe('1, 2');
  await backend.send(text(', 3'), 'end');
  await done;
  expect(last()).toMatchObject({ id: 'a', content: '1, 2, 3', status: 'done' });
});

test('an answer that was interrupted during its reasoning starts again', async () => {
  const { backend, conversation, last } = setUp([message('q'), message('a', { role: 'assistant', content: '', reasoning: 'hm', status: 'interrupted', created: 2 })]);
  const done = conversation.continue('a');
  await flushPromises();
  expect(backend.requests[0]).toMatchObject({ continues: false });
  await backend.send(reasoning('so'), text('3'), 'end');
  await done;
  expect(last()).toMatchObject({ id: 'a', reasoning: 'so', content: '3' });
});

test('a question waits for the running answer', async () => {
  const { backend, conversation } = setUp();
  const first = conversation.send('one');
  const second = conversation.send('two');
  await flushPromises();
  expect(backend.requests).toHaveLength(1);
  await backend.send(text('1'), 'end');
  await first;
  await flushPromises();
  await backend.send(text('2'), 'end');
  await second;
  expect(conversation.state.get().messages.map(({ content }) => content)).toEqual(['one', '1', 'two', '2']);
});

test('messages cannot be removed or replaced during an answer', async () => {
  const { conversation, last } = setUp();
  void conversation.send('hello');
  await flushPromises();
  conversation.remove(last().id);
  conversation.replace([]);
  expect(conversation.state.get().messages).toHaveLength(2);
});

test('progress before the first text is a fraction', async () => {
  const { backend, conversation } = setUp();
  void conversation.send('hello');
  await flushPromises();
  await backend.send({ kind: 'progress', done: 1, total: 4 });
  expect(conversation.state.get().progress).toBe(0.25);
});

test('a title is the shortened first line', () => {
  expect(titleOf(message('q', { content: 'What is this?\nmore' }))).toBe('What is this?');
  expect(titleOf(message('q', { content: 'x'.repeat(90) }))).toHaveLength(60);
});
