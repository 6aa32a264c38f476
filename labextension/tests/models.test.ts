import { expect, test } from 'vitest';
import { Models } from '../src/model/models';
import { Memory, readMemory } from '../src/model/memory';
import { Delta } from '../src/model/types';
import { Clock, memory, model, ScriptedBackend, settled, text } from './fakes';

const REQUEST = { model: 'big', messages: [], reasoning: 'default', system: '', temperature: null, continues: false } as const;

interface Stage {
  readonly clock: Clock;
  readonly backend: ScriptedBackend;
  readonly models: Models;
}

/** Models of which `big` is on disk, or in memory. */
async function stage(resident: number | null = null): Promise<Stage> {
  const clock = new Clock();
  const backend = new ScriptedBackend();
  backend.list = [model('small', { resident: 10 }), model('big', { resident })];
  const models = new Models(backend, clock, 'big');
  await models.refresh();
  await settled();
  backend.looks = 0;
  return { clock, backend, models };
}

function loading(done: number): Memory {
  return memory({ loading: { model: 'big', done, total: 100 } }, { big: 'fits' });
}

async function pass(clock: Clock, ms = 250): Promise<void> {
  clock.pass(ms);
  await settled();
}

/** The pieces of an answer, as they come. */
function ask({ models }: Stage, signal = new AbortController().signal): Delta[] {
  const pieces: Delta[] = [];
  void (async () => {
    for await (const piece of models.chat(REQUEST, signal)) {
      pieces.push(piece);
    }
  })().catch(() => undefined);
  return pieces;
}

const shown = ({ models }: Stage): unknown => models.state.get().memory?.loading?.done;
const busy = ({ models }: Stage): readonly string[] => models.state.get().busy;

test('what the engine tells of its memory is read', () => {
  const report = {
    budget: 100,
    used: 10,
    available: 95,
    is_starting: true,
    loading: { model: 'big', done: 1, total: 2 },
    needs: [{ model: 'big', size: 200, fit: 'never' }]
  };
  expect(readMemory(report)).toEqual({
    budget: 100,
    used: 10,
    available: 95,
    isStarting: true,
    loading: { model: 'big', done: 1, total: 2 },
    needs: new Map([['big', { size: 200, fit: 'never' }]])
  });
  expect(readMemory('nonsense')).toMatchObject({ budget: 0, loading: null, needs: new Map() });
});

test('a question shows at once how far its model is, until the model is there', async () => {
  const all = await stage();
  all.backend.report = memory({ isStarting: true });
  ask(all);
  await settled();
  expect(all.models.state.get().memory?.isStarting).toBe(true);
  expect(busy(all)).toEqual(['big']);
  all.backend.report = loading(30);
  await pass(all.clock);
  expect(shown(all)).toBe(30);
  all.backend.report = memory({}, { big: 'loaded' });
  all.backend.list = [model('big', { resident: 100 })];
  await pass(all.clock);
  expect(busy(all)).toEqual([]);
  expect(all.models.chosen?.resident).toBe(100);
  const { looks } = all.backend;
  await pass(all.clock, 10_000);
  expect(all.backend.looks).toBe(looks);
});

test('the first token ends the looking', async () => {
  const all = await stage();
  all.backend.report = loading(30);
  const pieces = ask(all);
  await settled();
  all.backend.report = memory();
  await all.backend.say({ kind: 'progress', done: 1, total: 2 });
  expect(busy(all)).toEqual(['big']);
  await all.backend.say(text('Hi'));
  expect(busy(all)).toEqual([]);
  expect(pieces).toHaveLength(2);
  await pass(all.clock);
  const { looks } = all.backend;
  await pass(all.clock, 10_000);
  expect(all.backend.looks).toBe(looks);
});

test('a question to a model in memory asks for nothing besides', async () => {
  const all = await stage(100);
  ask(all);
  await all.backend.say(text('Hi'), 'end');
  await pass(all.clock, 10_000);
  expect(all.backend.looks).toBe(0);
});

test('a model that has left meanwhile is noticed by its silence', async () => {
  const all = await stage(100);
  all.backend.report = loading(10);
  ask(all);
  await pass(all.clock, 1000);
  expect(busy(all)).toEqual(['big']);
  expect(shown(all)).toBe(10);
});

test('an answer that is stopped or fails is not waited for', async () => {
  const all = await stage();
  const abort = new AbortController();
  ask(all, abort.signal);
  await settled();
  abort.abort();
  await settled();
  expect(busy(all)).toEqual([]);
  ask(all);
  await all.backend.say(new Error('gone'));
  expect(busy(all)).toEqual([]);
});

test('what others load is followed until it is there', async () => {
  const all = await stage();
  all.backend.report = loading(10);
  await all.models.refresh();
  await settled();
  all.backend.report = loading(90);
  await pass(all.clock);
  expect(shown(all)).toBe(90);
  expect(busy(all)).toEqual([]);
  all.backend.report = memory();
  await pass(all.clock);
  const { looks } = all.backend;
  await pass(all.clock, 10_000);
  expect(all.backend.looks).toBe(looks);
});

test('a load that is asked for moves until it is done', async () => {
  const all = await stage();
  let finish = (): void => undefined;
  all.backend.load = () => new Promise<void>(resolve => (finish = resolve));
  const loaded = all.models.load('big');
  all.backend.report = loading(50);
  await settled();
  expect(busy(all)).toContain('big');
  await pass(all.clock);
  expect(shown(all)).toBe(50);
  all.backend.report = memory();
  finish();
  await loaded;
  expect(busy(all)).toEqual([]);
});

test('a model that was unloaded never looks like one that comes', async () => {
  const all = await stage(100);
  const looks: boolean[] = [];
  all.models.state.subscribe(() => looks.push(all.models.chosen?.resident === null && busy(all).includes('big')));
  all.backend.unload = async () => void (all.backend.list = [model('big')]);
  await all.models.unload('big');
  expect(all.models.chosen?.resident).toBeNull();
  expect(looks).not.toContain(true);
});

test('why a model could not be loaded is told beside it, and no server is called away', async () => {
  const all = await stage();
  all.backend.load = async () => {
    throw new Error('big needs 12 GB');
  };
  await all.models.load('big');
  expect(all.models.state.get().failure).toEqual({ model: 'big', reason: 'big needs 12 GB' });
  expect(all.models.state.get().problem).toBeNull();
  await all.models.unload('small');
  expect(all.models.state.get().failure).toBeNull();
});

test('models are listed where nothing is known of the memory', async () => {
  const all = await stage();
  all.backend.memory = async () => {
    throw new Error('no such endpoint');
  };
  await all.models.refresh();
  await settled();
  expect(all.models.state.get()).toMatchObject({ memory: null, problem: null });
});

test('the model that was picked last is remembered, and one that stands in for it is not', async () => {
  const backend = new ScriptedBackend();
  backend.list = [model('a'), model('b')];
  let remembered = 'gone';
  const open = async (): Promise<Models> => {
    const models = new Models(backend, new Clock(), remembered, name => (remembered = name));
    await models.refresh();
    return models;
  };
  const first = await open();
  expect(first.chosen?.name).toBe('a');
  expect(remembered).toBe('gone');
  first.choose('b');
  expect((await open()).chosen?.name).toBe('b');
});
