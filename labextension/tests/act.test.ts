import { expect, test } from 'vitest';
import { Approval, Policy, withApprovals } from '../src/act/approvals';
import { LoopOptions, runLoop } from '../src/act/loop';
import { failure, Proposal, Toolbox, ToolResult } from '../src/act/toolbox';
import { Conversation } from '../src/model/conversation';
import { Delta, Message } from '../src/model/types';
import { readTranscript, writeTranscript } from '../src/model/transcript';
import { chatBody } from '../src/model/wire';
import { Clock, flushPromises, message, ScriptedBackend, text } from './fakes';

const TOOLS = [{ type: 'function' as const, function: { name: 'run_cell', description: 'Run a cell.', parameters: {} } }];

function call(name: string, args: unknown, index = 0): Delta {
  return { kind: 'call', index, id: `c${index}`, name, arguments: typeof args === 'string' ? args : JSON.stringify(args) };
}

/** A toolbox with one notebook cell in memory. Changes are proposed, reads are not. */
class MemoryToolbox implements Toolbox {
  readonly calls: string[] = [];
  source = 'print(1)';
  results: (ToolResult | Promise<ToolResult>)[] = [];

  async tools(): Promise<typeof TOOLS> {
    return TOOLS;
  }

  async propose(name: string): Promise<Proposal | ToolResult | null> {
    switch (name) {
      case 'run_cell':
        return { kind: 'run', cell: 'ab12', source: this.source };
      case 'edit_cell':
        return { kind: 'edit', cell: 'ab12', before: this.source, after: 'new' };
      case 'files__read':
        return { kind: 'other', tool: name, source: '{}' };
      default:
        return null;
    }
  }

  async call(name: string, args: unknown): Promise<ToolResult> {
    this.calls.push(`${name} ${JSON.stringify(args)}`);
    return this.results.shift() ?? { text: 'No output.' };
  }
}

interface Setup {
  readonly backend: ScriptedBackend;
  readonly toolbox: MemoryToolbox;
  readonly conversation: Conversation;
  last(): Message;
}

function setUp(options: Partial<LoopOptions> = {}, toolbox = new MemoryToolbox()): Setup {
  const backend = new ScriptedBackend();
  const clock = new Clock();
  const settings = async (): ReturnType<Conversation['_options']['settings']> => ({ model: 'tiny', reasoning: 'off', system: 's', temperature: 0 });
  const loop = { toolbox, system: 'act', maxSteps: 12, resultLength: 1000, acceptsImages: false, note: () => undefined, ...options };
  const conversation = new Conversation({ backend, environment: clock, settings, act: () => turn => runLoop(turn, loop) });
  return { backend, toolbox, conversation, last: () => conversation.state.get().messages.at(-1) as Message };
}

test('a call is made, its result goes to the model, and an answer without a call ends the turn', async () => {
  const { backend, toolbox, conversation, last } = setUp();
  toolbox.results = [{ text: 'Output:\n47' }];
  const done = conversation.send('run it');
  await flushPromises();
  expect(backend.requests[0]).toMatchObject({ tools: TOOLS, mustCall: true, system: 'act\n\ns', model: 'tiny' });
  await backend.send({ kind: 'call', index: 0, id: 'c0', name: 'run_cell', arguments: '{"cell"' }, call('', ':"ab12"}'), 'end');
  expect(toolbox.calls).toEqual(['run_cell {"cell":"ab12"}']);
  expect(conversation.state.get().messages[1]).toMatchObject({ status: 'done', calls: [{ name: 'run_cell', result: 'Output:\n47' }] });
  expect(conversation.state.get().busy).toBe(true);
  await backend.send(text('It prints 47.'), 'end');
  await done;
  expect(last()).toMatchObject({ content: 'It prints 47.', status: 'done' });
  expect(conversation.state.get().busy).toBe(false);
  expect(chatBody(backend.requests[1])).toMatchObject({
    tool_choice: 'auto',
    parallel_tool_calls: false,
    messages: [
      { role: 'system', content: 'act\n\ns' },
      { role: 'user', content: 'run it' },
      { role: 'assistant', tool_calls: [{ id: 'c0', type: 'function', function: { name: 'run_cell', arguments: '{"cell":"ab12"}' } }] },
      { role: 'tool', tool_call_id: 'c0', content: 'Output:\n47' }
    ]
  });
});

test('accepting all of a turn accepts no tool of an MCP server', async () => {
  const asked: string[] = [];
  const guarded = withApprovals(new MemoryToolbox(), () => 'always', async ({ kind }) => (asked.push(kind), 'accept-turn'));
  const { signal } = new AbortController();
  for (const name of ['run_cell', 'edit_cell', 'files__read', 'run_cell']) {
    await guarded.call(name, {}, signal);
  }
  expect(asked).toEqual(['run', 'other']);
});

test('a call that cannot work is neither proposed nor made', async () => {
  const toolbox = new MemoryToolbox();
  toolbox.propose = async () => failure('Read a cell before you change it.');
  const asked: Proposal[] = [];
  const guarded = withApprovals(toolbox, () => 'never', async proposal => (asked.push(proposal), 'accept'));
  expect(await guarded.call('edit_cell', {}, new AbortController().signal)).toEqual(failure('Read a cell before you change it.'));
  expect([asked, toolbox.calls]).toEqual([[], []]);
});

test('the turn ends after its number of steps, and can be continued', async () => {
  const { backend, conversation, last } = setUp({ maxSteps: 2 });
  const done = conversation.send('go');
  await flushPromises();
  await backend.send(call('read_notebook', {}), 'end');
  await backend.send(call('read_notebook', {}), 'end');
  await done;
  expect(backend.requests).toHaveLength(2);
  expect(last()).toMatchObject({ finish: 'step_limit', status: 'done' });
  const more = conversation.continue(last().id);
  await flushPromises();
  await backend.send(text('Done.'), 'end');
  await more;
  expect(last().content).toBe('Done.');
});

test('an error goes to the model, and a second one in a row ends the turn', async () => {
  const { backend, toolbox, conversation, last } = setUp();
  toolbox.results = [failure('no'), { text: 'ok' }, failure('no'), failure('never')];
  const done = conversation.send('go');
  await flushPromises();
  for (let step = 0; step < 4; step += 1) {
    expect(conversation.state.get().busy).toBe(true);
    await backend.send(call('read_notebook', {}), 'end');
  }
  await done;
  expect(last()).toMatchObject({ finish: 'tool_errors', calls: [{ result: 'Error: never', failed: true }] });
});

test.each([['arguments that are no object', '[1]'], ['arguments that are no JSON', '{"cell":']])('%s become an error', async (_, args) => {
  const { backend, toolbox, conversation } = setUp();
  void conversation.send('go');
  await flushPromises();
  await backend.send(call('run_cell', args), 'end');
  expect(toolbox.calls).toEqual([]);
  expect(conversation.state.get().messages[1].calls).toMatchObject([{ result: 'Error: The arguments of run_cell are not a JSON object.', failed: true }]);
});

test('a stop ends a running tool and the turn', async () => {
  const { backend, toolbox, conversation, last } = setUp();
  toolbox.results = [new Promise(() => undefined)];
  const done = conversation.send('go');
  await flushPromises();
  await backend.send(call('run_cell', { cell: 'ab12' }), 'end');
  expect(last().status).toBe('streaming');
  conversation.stop();
  await done;
  expect(last()).toMatchObject({ status: 'stopped', calls: [{ result: 'Error: The user stopped this.' }] });
  expect(conversation.state.get().busy).toBe(false);
});

test('a stop while the model answers ends the turn', async () => {
  const { backend, toolbox, conversation, last } = setUp();
  const done = conversation.send('go');
  await flushPromises();
  await backend.send(text('I'));
  conversation.stop();
  await done;
  expect(backend.aborted).toBe(1);
  expect(last()).toMatchObject({ content: 'I', status: 'stopped' });
  expect(toolbox.calls).toEqual([]);
});

test('a turn that cannot begin has a failed answer with the reason', async () => {
  const toolbox = new MemoryToolbox();
  toolbox.tools = () => Promise.reject(new Error('Open a notebook first.'));
  const { conversation, last } = setUp({}, toolbox);
  await conversation.send('go');
  expect(last()).toMatchObject({ role: 'assistant', status: 'failed', error: 'Open a notebook first.' });
});

test('long results are shortened in their middle', async () => {
  const { backend, toolbox, conversation } = setUp({ resultLength: 30 });
  toolbox.results = [{ text: `begin${'x'.repeat(100)}end` }];
  void conversation.send('go');
  await flushPromises();
  await backend.send(call('run_cell', {}), 'end');
  expect(conversation.state.get().messages[1].calls?.[0].result).toMatch(/^beginx+\n\[78 characters are left out\]\nx+end$/);
});

test.each([[true, ['data:image/png;base64,AA']], [false, undefined]])('images are for models that accept them: %s', async (acceptsImages, images) => {
  const { backend, toolbox, conversation } = setUp({ acceptsImages });
  toolbox.results = [{ text: 'No output.', images: ['data:image/png;base64,AA'] }];
  void conversation.send('go');
  await flushPromises();
  await backend.send(call('run_cell', {}), 'end');
  expect(conversation.state.get().messages[1].calls?.[0].images).toEqual(images);
  expect(chatBody(backend.requests[1]).messages).toHaveLength(acceptsImages ? 5 : 4);
});

test('a file keeps the calls, and a call without a result was not done', () => {
  const calls = [{ id: 'c', name: 'run_cell', arguments: '{}', failed: true, result: 'Error: no' }, { id: 'd', name: 'run_cell', arguments: '{}' }];
  const transcript = { id: 'i', title: '', titled: 0, created: 0, removed: [], messages: [message('a', { role: 'assistant', calls })] };
  const read = readTranscript(writeTranscript(transcript));
  expect(read?.messages[0].calls).toEqual(calls);
  const request = { model: 'tiny', messages: transcript.messages, reasoning: 'off', system: '', temperature: null, continues: false } as const;
  expect(chatBody(request).messages).toMatchObject([{}, { content: 'Error: no' }, { content: 'Error: This was not done.' }]);
});

const signal = new AbortController().signal;

function approving(policy: Policy, ...answers: Approval[]): { toolbox: MemoryToolbox; asked: Proposal[]; box: Toolbox } {
  const toolbox = new MemoryToolbox();
  const asked: Proposal[] = [];
  const ask = async (proposal: Proposal): Promise<Approval> => {
    asked.push(proposal);
    return answers.shift() ?? 'reject';
  };
  return { toolbox, asked, box: withApprovals(toolbox, () => policy, ask) };
}

test('reads need no approval', async () => {
  const { asked, box } = approving('always');
  expect(await box.call('read_notebook', {}, signal)).toEqual({ text: 'No output.' });
  expect(asked).toEqual([]);
});

test('a rejected call is not made', async () => {
  const { toolbox, box } = approving('always', 'reject');
  expect(await box.call('run_cell', {}, signal)).toEqual({ text: 'Error: The user rejected this.', failed: true });
  expect(toolbox.calls).toEqual([]);
});

test('accepting is for one call, and accepting the turn for all later ones', async () => {
  const { asked, box } = approving('always', 'accept', 'accept-turn');
  for (const name of ['edit_cell', 'run_cell', 'edit_cell', 'run_cell']) {
    expect(await box.call(name, {}, signal)).toEqual({ text: 'No output.' });
  }
  expect(asked.map(({ kind }) => kind)).toEqual(['edit', 'run']);
});

test.each<[Policy, string[]]>([['always', ['edit', 'run', 'other']], ['run-and-delete', ['run', 'other']], ['never', ['other']]])(
  'under the policy %s the user is asked for %s',
  async (policy, kinds) => {
    const { asked, box } = approving(policy, 'accept', 'accept', 'accept');
    for (const name of ['edit_cell', 'run_cell', 'files__read']) {
      await box.call(name, {}, signal);
    }
    expect(asked.map(({ kind }) => kind)).toEqual(kinds);
  }
);

test('a cell that changes while the user is asked is not run', async () => {
  const toolbox = new MemoryToolbox();
  const box = withApprovals(toolbox, () => 'always', async () => {
    toolbox.source = 'print(2)';
    return 'accept';
  });
  expect(await box.call('run_cell', {}, signal)).toMatchObject({ failed: true });
  expect(toolbox.calls).toEqual([]);
});
