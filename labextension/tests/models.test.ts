import { expect, test } from 'vitest';
import { Models } from '../src/model/models';
import { Memory, readMemory } from '../src/model/memory';
import { Delta } from '../src/model/types';
import { Clock, flushPromises, memory, model, ScriptedBackend, text } from './fakes';

const REQUEST = { model: 'big', messages: [], reasoning: 'default', system: '', temperature: null, continues: false } as const;

interface Setup {
  readonly clock: Clock;
  readonly backend: ScriptedBackend;
  readonly models: Models;
}

/** Two models: `small` in memory, and `big` on disk or in memory. */
async function setUp(resident: number | null = null): Promise<Setup> {
  const clock = new Clock();
  const backend = new ScriptedBackend();
  backend.list = [model('small', { resident: 10 }), model('big', { resident })];
  const models = new Models(backend, clock, 'big');
  await models.refresh();
  await flushPromises();
  backend.memoryRequests = 0;
  return { clock, backend, models };
}

function loading(done: number): Memory {
  return memory({ loading: { model: 'big', done, total: 100 } }, { big: 'fits' });
}

async function advance(clock: Clock, ms = 250): Promise<void> {
  clock.advance(ms);
  await flushPromises();
}

/** The deltas of an answer. The list grows as they arrive. */
function ask({ models }: Setup, signal = new AbortController().signal): Delta[] {
  const deltas: Delta[] = [];
  void (async () => {
    for await (const delta of models.chat(REQUEST, signal)) {
      deltas.push(delta);
    }
  })().catch(() => undefined);
  return deltas;
}

const shown = ({ models }: Setup): unknown => models.state.get().memory?.loading?.done;
const busy = ({ models }: Setup): readonly string[] => models.state.get().busy;

test('the memory report of the engine is decoded', () => {
  const report = {
    budget: 100,
    used: 10,
    available: 95,
    is_starting: true,
    loading: { model: 'big', done: 1, total: 2 },
    needs: [{ model: 'big', size: 200, fit: 'fits', is_tight: true, unload: ['small'] }]
  };
  expect(readMemory(report)).toEqual({
    budget: 100,
    used: 10,
    available: 95,
    isStarting: true,
    loading: { model: 'big', done: 1, total: 2 },
    needs: new Map([['big', { size: 200, fit: 'fits', isTight: true, unload: ['small'] }]])
  });
  expect(readMemory('nonsense')).toMatchObject({ budget: 0, loading: null, needs: new Map() });
});

test('a question shows the progress of its load at once, until the model is in memory', async () => {
  const all = await setUp();
  all.backend.report = memory({ isStarting: true });
  ask(all);
  await flushPromises();
  expect(all.models.state.get().memory?.isStarting).toBe(true);
  expect(busy(all)).toEqual(['big']);
  all.backend.report = loading(30);
  await advance(all.clock);
  expect(shown(all)).toBe(30);
  all.backend.report = memory({}, { big: 'loaded' });
  all.backend.list = [model('big', { resident: 100 })];
  await advance(all.clock);
  expect(busy(all)).toEqual([]);
  expect(all.models.chosen?.resident).toBe(100);
  const { memoryRequests } = all.backend;
  await advance(all.clock, 10_000);
  expect(all.backend.memoryRequests).toBe(memoryRequests);
});

test('the first token ends the polling', async () => {
  const all = await setUp();
  all.backend.report = loading(30);
  const deltas = ask(all);
  await flushPromises();
  all.backend.report = memory();
  await all.backend.send({ kind: 'progress', done: 1, total: 2 });
  expect(busy(all)).toEqual(['big']);
  await all.backend.send(text('Hi'));
  expect(busy(all)).toEqual([]);
  expect(deltas).toHaveLength(2);
  await advance(all.clock);
  const { memoryRequests } = all.backend;
  await advance(all.clock, 10_000);
  expect(all.backend.memoryRequests).toBe(memoryRequests);
});

test('a question to a model in memory requests no memory report', async () => {
  const all = await setUp(100);
  ask(all);
  await all.backend.send(text('Hi'), 'end');
  await advance(all.clock, 10_000);
  expect(all.backend.memoryRequests).toBe(0);
});

test('a load is tracked if a model that was listed as in memory does not answer in time', async () => {
  const all = await setUp(100);
  all.backend.report = loading(10);
  ask(all);
  await advance(all.clock, 1000);
  expect(busy(all)).toEqual(['big']);
  expect(shown(all)).toBe(10);
});

test('a stopped or failed answer ends the tracking of its load', async () => {
  const all = await setUp();
  const abort = new AbortController();
  ask(all, abort.signal);
  await flushPromises();
  abort.abort();
  await flushPromises();
  expect(busy(all)).toEqual([]);
  ask(all);
  await all.backend.send(new Error('gone'));
  expect(busy(all)).toEqual([]);
});

test('loads of other clients are shown until they end', async () => {
  const all = await setUp();
  all.backend.report = loading(10);
  await all.models.refresh();
  await flushPromises();
  all.backend.report = loading(90);
  await advance(all.clock);
  expect(shown(all)).toBe(90);
  expect(busy(all)).toEqual([]);
  all.backend.report = memory();
  await advance(all.clock);
  const { memoryRequests } = all.backend;
  await advance(all.clock, 10_000);
  expect(all.backend.memoryRequests).toBe(memoryRequests);
});

test('a model is busy until its requested load is complete', async () => {
  const all = await setUp();
  let finish = (): void => undefined;
  all.backend.load = () => new Promise<void>(resolve => (finish = resolve));
  const loaded = all.models.load('big');
  all.backend.report = loading(50);
  await flushPromises();
  expect(busy(all)).toContain('big');
  await advance(all.clock);
  expect(shown(all)).toBe(50);
  all.backend.report = memory();
  finish();
  await loaded;
  expect(busy(all)).toEqual([]);
});

test('a model that was unloaded never appears to load', async () => {
  const all = await setUp(100);
  const appearsToLoad: boolean[] = [];
  all.models.state.subscribe(() => appearsToLoad.push(all.models.chosen?.resident === null && busy(all).includes('big')));
  all.backend.unload = async () => void (all.backend.list = [model('big')]);
  await all.models.unload('big');
  expect(all.models.chosen?.resident).toBeNull();
  expect(appearsToLoad).not.toContain(true);
});

test('a failed load is reported for its model, not as an unreachable server', async () => {
  const all = await setUp();
  all.backend.load = async () => {
    throw new Error('big needs 12 GB');
  };
  await all.models.load('big');
  expect(all.models.state.get().failure).toEqual({ model: 'big', reason: 'big needs 12 GB' });
  expect(all.models.state.get().problem).toBeNull();
  await all.models.unload('small');
  expect(all.models.state.get().failure).toBeNull();
});

test('models are listed without a memory report', async () => {
  const all = await setUp();
  all.backend.memory = async () => {
    throw new Error('no such endpoint');
  };
  await all.models.refresh();
  await flushPromises();
  expect(all.models.state.get()).toMatchObject({ memory: null, problem: null });
});

test('the model that was chosen last is saved, and a fallback is not', async () => {
  const backend = new ScriptedBackend();
  backend.list = [model('a'), model('b')];
  let saved = 'gone';
  const open = async (): Promise<Models> => {
    const models = new Models(backend, new Clock(), saved, name => (saved = name));
    await models.refresh();
    return models;
  };
  const first = await open();
  expect(first.chosen?.name).toBe('a');
  expect(saved).toBe('gone');
  first.choose('b');
  expect((await open()).chosen?.name).toBe('b');
});
