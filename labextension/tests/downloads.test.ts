import { expect, test } from 'vitest';
import { Models } from '../src/model/models';
import { Downloads } from '../src/model/downloads';
import { groupByMachine, localModel, readDownloads, readHubModel, readRecommendation, readSkipped } from '../src/model/hub';
import { HttpHub } from '../src/model/httpHub';
import { formatDuration } from '../src/model/memory';
import { downloadText } from '../src/view/DownloadProgress';
import { untranslated } from '../src/view/services';
import { Clock, download, FakeHub, flushPromises, hubModel, model, ScriptedBackend } from './fakes';

interface Setup {
  readonly clock: Clock;
  readonly backend: ScriptedBackend;
  readonly hub: FakeHub;
  readonly models: Models;
  readonly downloads: Downloads;
}

async function setUp(...list: FakeHub['list']): Promise<Setup> {
  const clock = new Clock();
  const backend = new ScriptedBackend();
  const hub = new FakeHub();
  hub.list = list;
  backend.modelHub = hub;
  const models = new Models(backend, clock, 'tiny');
  await models.refresh();
  await flushPromises();
  return { clock, backend, hub, models, downloads: models.downloads };
}

async function advance({ clock }: Setup, ms = 1000): Promise<void> {
  clock.advance(ms);
  await flushPromises();
}

const states = ({ downloads }: Setup): string[] => downloads.state.get().downloads.map(({ state }) => state);

test('the list of downloads is requested each second while one is active, and then no more', async () => {
  const all = await setUp(download('org/big'));
  expect(all.downloads.find('ORG/big')?.completed).toBe(30);
  const before = all.hub.listRequests;
  await advance(all);
  await advance(all);
  expect(all.hub.listRequests).toBe(before + 2);
  all.hub.list = [download('org/big', { state: 'paused' })];
  await advance(all);
  const after = all.hub.listRequests;
  await advance(all, 10_000);
  expect(all.hub.listRequests).toBe(after);
});

test('a page without active downloads requests their list once', async () => {
  const all = await setUp();
  await advance(all, 10_000);
  expect(all.hub.listRequests).toBe(1);
});

test('a complete download lists its model, and the chosen model stays chosen', async () => {
  const all = await setUp(download('org/big'));
  all.hub.list = [download('org/big', { state: 'complete', completed: 100 })];
  all.backend.list = [model('big'), model('tiny')];
  await advance(all);
  expect(all.models.state.get().models.map(({ name }) => name)).toEqual(['big', 'tiny']);
  expect(all.models.state.get().chosenName).toBe('tiny');
});

test('a download that another page completed and dismissed lists its model', async () => {
  const all = await setUp(download('org/big'));
  all.hub.list = [];
  all.backend.list = [model('big'), model('tiny')];
  await advance(all);
  expect(all.models.state.get().models).toHaveLength(2);
});

test('the recommended models show a complete download as present', async () => {
  const all = await setUp(download('org/Known'));
  await all.downloads.loadRecommended();
  expect(all.downloads.state.get().recommendation?.models[0]?.isPresent).toBe(false);
  all.hub.present = ['org/Known'];
  all.hub.list = [];
  await advance(all);
  expect(all.downloads.state.get().recommendation?.models[0]?.isPresent).toBe(true);
});

test('a download starts, pauses, resumes and is cancelled', async () => {
  const all = await setUp();
  await all.downloads.start('org/big');
  await flushPromises();
  expect(states(all)).toEqual(['running']);
  await all.downloads.pause('org/big');
  await flushPromises();
  expect(states(all)).toEqual(['paused']);
  await all.downloads.start('org/big');
  await flushPromises();
  expect(states(all)).toEqual(['running']);
  await all.downloads.cancel('org/big');
  await flushPromises();
  expect(states(all)).toEqual([]);
  expect(all.hub.requests).toEqual(['download org/big', 'pause org/big', 'download org/big', 'cancel org/big']);
});

test('a refused download is reported for its model until the next action', async () => {
  const all = await setUp();
  all.hub.error = new Error('org/big is gated');
  await all.downloads.start('org/big');
  expect(all.downloads.state.get()).toMatchObject({ failure: { model: 'org/big', reason: 'org/big is gated' }, busy: [] });
  all.hub.error = null;
  await all.downloads.start('org/big');
  expect(all.downloads.state.get().failure).toBeNull();
});

test('a server that does not answer keeps the last list, and the list is followed again when it answers', async () => {
  const all = await setUp(download('org/big'));
  all.hub.error = new Error('offline');
  await advance(all);
  expect(all.downloads.state.get().silence).toBe('offline');
  expect(states(all)).toEqual(['running']);
  all.hub.error = null;
  all.hub.list = [download('org/big', { completed: 90 })];
  await advance(all);
  expect(all.downloads.state.get().silence).toBeNull();
  expect(all.downloads.find('org/big')?.completed).toBe(90);
});

test('the hub is searched once after the last key', async () => {
  const all = await setUp();
  all.hub.found = [hubModel('org/smol')];
  all.downloads.search('s');
  await advance(all, 100);
  all.downloads.search('smol ');
  await advance(all, 399);
  expect(all.hub.requests).toEqual([]);
  await advance(all, 1);
  expect(all.hub.requests).toEqual(['search smol']);
  expect(all.downloads.state.get().search).toMatchObject({ isSearching: false, found: [{ model: 'org/smol' }] });
});

test('an answer to earlier words is ignored', async () => {
  const all = await setUp();
  let answer = (): void => undefined;
  all.hub.search = words => new Promise(resolve => (answer = () => resolve([hubModel(`org/${words}`)])));
  all.downloads.search('old');
  await advance(all, 400);
  all.downloads.search('new');
  answer();
  await flushPromises();
  expect(all.downloads.state.get().search).toMatchObject({ words: 'new', isSearching: true, found: [] });
});

test('more models are found page by page, up to the limit of the server', async () => {
  const all = await setUp();
  all.downloads.search('smol');
  await advance(all, 400);
  for (let page = 0; page < 5; page += 1) {
    await all.downloads.searchMore();
  }
  expect(all.hub.requests).toEqual(['search smol', 'search smol 40', 'search smol 60', 'search smol 80', 'search smol 100', 'search smol 100']);
});

test('empty words show the recommended models, and no search follows', async () => {
  const all = await setUp();
  all.downloads.search('smol');
  all.downloads.search(' ');
  await advance(all, 1000);
  expect(all.downloads.state.get().search).toBeNull();
  expect(all.hub.requests).toEqual([]);
});

test('a failed search says why', async () => {
  const all = await setUp();
  all.hub.error = new Error('the hub cannot be reached');
  all.downloads.search('smol');
  await advance(all, 400);
  expect(all.downloads.state.get().search).toMatchObject({ isSearching: false, problem: 'the hub cannot be reached' });
});

test('a found model is described with its exact sizes', async () => {
  const all = await setUp();
  await all.downloads.describe('org/smol');
  expect(all.downloads.state.get().described.get('org/smol')?.diskBytes).toBe(270);
});

test('a deleted model leaves the list, and what it freed is reported', async () => {
  const all = await setUp();
  all.backend.list = [model('tiny'), model('big')];
  await all.models.refresh();
  all.hub.present = ['org/Known'];
  await all.downloads.loadRecommended();
  all.backend.list = [model('tiny')];
  await all.downloads.remove('org/Known', 270);
  expect(all.downloads.state.get()).toMatchObject({ deleted: { model: 'org/Known', freed: 270 }, recommendation: { models: [{ isPresent: false }] } });
  expect(all.models.state.get().models).toHaveLength(1);
});

test('a page without a server has no hub', async () => {
  const all = await setUp();
  all.backend.modelHub = null;
  await all.downloads.loadRecommended();
  expect(all.downloads.state.get()).toMatchObject({ hub: 'none', recommendation: null, problem: null });
});

test('a server that downloads no models says why', async () => {
  const all = await setUp();
  all.hub.error = new Error('downloading models is disabled on this server');
  await all.downloads.loadRecommended();
  expect(all.downloads.state.get()).toMatchObject({ hub: 'available', problem: 'downloading models is disabled on this server' });
});

test('folders that are not listed are shown, and none by a server without this list', async () => {
  const all = await setUp();
  all.backend.skippedFolders = [{ name: 'x', path: '/x', reason: 'GGUF' }];
  await all.models.refreshSkipped();
  expect(all.models.state.get().skipped).toHaveLength(1);
  all.backend.skipped = async () => {
    throw new Error('404');
  };
  await all.models.refreshSkipped();
  expect(all.models.state.get().skipped).toEqual([]);
});

test('the recommended models are grouped by the memory of the machine', () => {
  const models = [8, 16, 32].map(machineGb => hubModel(`org/${machineGb}`, { machineGb }));
  const names = (gb: number): string[][] => {
    const { best, smaller, larger } = groupByMachine({ total: gb * 2 ** 30, free: 0, models });
    return [best, smaller, larger].map(group => group.map(({ model: name }) => name));
  };
  expect(names(15.4)).toEqual([['org/16'], ['org/8'], ['org/32']]);
  expect(names(128)).toEqual([['org/32'], ['org/8', 'org/16'], []]);
  expect(names(4)).toEqual([[], [], ['org/8', 'org/16', 'org/32']]);
});

test('a downloaded model is found by the name of its repository, and by the part after the owner', () => {
  const models = [model('Big'), model('other/Big')];
  expect(localModel('org/big', models)?.name).toBe('Big');
  expect(localModel('other/big', models)?.name).toBe('other/Big');
  expect(localModel('org/small', models)).toBeUndefined();
});

test('answers of the server are decoded, and missing values are unknown', () => {
  expect(readDownloads({ downloads: [{ model: 'org/a', state: 'failed', completed: 3, total: null, rate: null, seconds_left: null, error: 'full' }] })).toEqual([
    { model: 'org/a', state: 'failed', completed: 3, total: null, rate: null, secondsLeft: null, error: 'full' }
  ]);
  expect(readDownloads('nonsense')).toEqual([]);
  expect(readHubModel({ model: 'org/a', fits: 'tight', state: 'present', gated: true, disk_bytes: 5 })).toMatchObject({
    title: 'org/a',
    fit: 'tight',
    isPresent: true,
    isGated: true,
    diskBytes: 5,
    memoryBytes: null
  });
  expect(readRecommendation({ memory: { total: 8, free: 3 }, models: [{ model: 'org/a' }] })).toMatchObject({ total: 8, free: 3, models: [{ fit: null }] });
  expect(readSkipped({ skipped: [{ name: 'a', path: '/a', reason: 'GGUF' }] })).toEqual([{ name: 'a', path: '/a', reason: 'GGUF' }]);
});

test('requests name the model in the path or in the body', async () => {
  const sent: [string, RequestInit][] = [];
  const hub = new HttpHub(async (path, init) => {
    sent.push([path, init]);
    return new Response('{}');
  });
  await hub.download('org/a');
  await hub.pause('org/a');
  await hub.cancel('org/a');
  await hub.search('a & b', 40);
  await hub.describe('org/a');
  await hub.remove('a');
  expect(sent.map(([path, { method, body }]) => [method, path, body].filter(Boolean).join(' '))).toEqual([
    'POST pico/downloads {"model":"org/a"}',
    'PATCH pico/downloads/org/a {"state":"paused"}',
    'DELETE pico/downloads/org/a',
    'GET pico/hub/search?q=a%20%26%20b&limit=40',
    'GET pico/hub/models/org/a',
    'DELETE pico/api/delete {"model":"a"}'
  ]);
});

test.each([
  [download('a', { completed: 34e6, total: 270e6, rate: 3.1e6, secondsLeft: 76 }), '34 MB of 270 MB · 3.1 MB/s · 76 s left'],
  [download('a', { total: null, rate: null, secondsLeft: null }), 'Starting…'],
  [download('a', { state: 'queued' }), 'Waiting for other downloads · 30 B of 100 B'],
  [download('a', { state: 'paused' }), 'Paused · 30 B of 100 B'],
  [download('a', { state: 'failed', error: 'the disk is full' }), 'Failed at 30 B of 100 B: the disk is full']
])('the progress of %j is described', (record, text) => {
  expect(downloadText(record, untranslated)).toBe(text);
});

test.each([
  [0.2, '1 s'],
  [89, '89 s'],
  [120, '2 min'],
  [3600, '1 h'],
  [4800, '1 h 20 min']
])('%d seconds are formatted', (seconds, text) => {
  expect(formatDuration(seconds)).toBe(text);
});
