/** Fakes: a clock that tests advance, a scripted backend, and a folder in memory. */

import { ConversationFolder, FolderFile, PageChannel, UnsavedStore } from '../src/model/storage';
import { Download, HubModel, ModelHub, Recommendation, SkippedFolder } from '../src/model/hub';
import { Fit, Memory } from '../src/model/memory';
import { ConversationStorage } from '../src/model/autosave';
import { Backend, ChatRequest, Delta, Environment, Message, Model } from '../src/model/types';

export class Clock implements Environment {
  constructor(readonly page = 'page') {}

  now(): number {
    return this._now;
  }

  newId(): string {
    this._ids += 1;
    return `${this.page}${this._ids}`;
  }

  after(ms: number, run: () => void): () => void {
    const timer = { due: this._now + ms, run };
    this._timers.add(timer);
    return () => void this._timers.delete(timer);
  }

  /** Advances the clock. Due timers run in order. */
  advance(ms: number): void {
    this._now += ms;
    for (const timer of [...this._timers].sort((one, other) => one.due - other.due)) {
      if (timer.due <= this._now && this._timers.delete(timer)) {
        timer.run();
      }
    }
  }

  private _now = 1_000_000;
  private _ids = 0;
  private readonly _timers = new Set<{ due: number; run: () => void }>();
}

/** Sends the deltas that the test provides. */
export class ScriptedBackend implements Backend {
  readonly requests: ChatRequest[] = [];
  aborted = 0;

  async *chat(request: ChatRequest, signal: AbortSignal): AsyncGenerator<Delta, void> {
    this.requests.push(request);
    signal.addEventListener('abort', () => {
      this.aborted += 1;
      this._wake();
    });
    for (;;) {
      while (this._deltas.length) {
        const delta = this._deltas.shift();
        if (delta === 'end') {
          return;
        }
        if (delta instanceof Error) {
          throw delta;
        }
        if (delta) {
          yield delta;
        }
      }
      signal.throwIfAborted();
      await new Promise<void>(resolve => (this._wake = resolve));
    }
  }

  async send(...pieces: (Delta | 'end' | Error)[]): Promise<void> {
    this._deltas.push(...pieces);
    this._wake();
    await flushPromises();
  }

  async models(): Promise<Model[]> {
    return this.list;
  }

  async memory(): Promise<Memory> {
    this.memoryRequests += 1;
    return this.report;
  }

  async load(): Promise<void> {}

  async unload(): Promise<void> {}

  async skipped(): Promise<SkippedFolder[]> {
    return this.skippedFolders;
  }

  async hub(): Promise<FakeHub | null> {
    return this.modelHub;
  }

  modelHub: FakeHub | null = new FakeHub();
  skippedFolders: SkippedFolder[] = [];

  memoryRequests = 0;
  report = memory();
  list: Model[] = [model('tiny')];
  private readonly _deltas: (Delta | 'end' | Error)[] = [];
  private _wake: () => void = () => undefined;
}

/** A hub in memory. Its downloads change only when a test or a request changes them. */
export class FakeHub implements ModelHub {
  /** The requests that change something, and the searches. */
  readonly requests: string[] = [];
  listRequests = 0;
  list: Download[] = [];
  found: HubModel[] = [];
  present: string[] = [];
  error: Error | null = null;

  async downloads(): Promise<Download[]> {
    this.listRequests += 1;
    this._check();
    return this.list;
  }

  async download(name: string): Promise<void> {
    this._note(`download ${name}`);
    this.list = [...this.list.filter(other => other.model !== name), download(name)];
  }

  async pause(name: string): Promise<void> {
    this._note(`pause ${name}`);
    this.list = this.list.map(other => (other.model === name ? { ...other, state: 'paused' } : other));
  }

  async cancel(name: string): Promise<void> {
    this._note(`cancel ${name}`);
    this.list = this.list.filter(other => other.model !== name);
  }

  async recommended(): Promise<Recommendation> {
    this._check();
    return { total: 16 * 2 ** 30, free: 2 ** 33, models: [hubModel('org/Known', { isPresent: this.present.includes('org/Known') })] };
  }

  async search(words: string, limit: number): Promise<HubModel[]> {
    this._note(limit > 20 ? `search ${words} ${limit}` : `search ${words}`);
    return this.found;
  }

  async describe(name: string): Promise<HubModel> {
    this._note(`describe ${name}`);
    return hubModel(name, { diskBytes: 270 });
  }

  async remove(name: string): Promise<void> {
    this._note(`remove ${name}`);
    this.present = this.present.filter(other => other !== name);
  }

  private _note(request: string): void {
    this._check();
    this.requests.push(request);
  }

  private _check(): void {
    if (this.error) {
      throw this.error;
    }
  }
}

export function download(model: string, changes: Partial<Download> = {}): Download {
  return { model, state: 'running', completed: 30, total: 100, rate: 10, secondsLeft: 7, error: '', ...changes };
}

export function hubModel(model: string, changes: Partial<HubModel> = {}): HubModel {
  const texts = { title: model, description: '', license: '', parameters: '', quantization: '', problem: '' };
  const sizes = { diskBytes: null, memoryBytes: null, machineGb: null, fit: null };
  return { model, ...texts, ...sizes, capabilities: [], isPresent: false, isGated: false, ...changes };
}

export function model(name: string, changes: Partial<Model> = {}): Model {
  const facts = { size: 1, quantization: '4bit', parameters: '1M', capabilities: ['thinking'], context: 4096, source: 'hub' as const, resident: null };
  return { name, ...facts, ...changes };
}

/** `fits` has the fit of each model by name. */
export function memory(changes: Partial<Memory> = {}, fits: Record<string, Fit> = {}): Memory {
  const needs = new Map(Object.entries(fits).map(([name, fit]) => [name, { size: 1000, fit, isTight: false, unload: [] }]));
  return { budget: 10_000, used: 0, available: 10_000, isStarting: false, loading: null, needs, ...changes };
}

export function message(id: string, changes: Partial<Message> = {}): Message {
  return { id, role: 'user', content: id, status: 'done', created: 1, changed: 1, ...changes };
}

export const text = (content: string): Delta => ({ kind: 'text', text: content });
export const reasoning = (content: string): Delta => ({ kind: 'reasoning', text: content });

/** Resolves once pending promises are settled. */
export async function flushPromises(): Promise<void> {
  for (let turn = 0; turn < 50; turn += 1) {
    await Promise.resolve();
  }
}

export class MemoryFolder implements ConversationFolder {
  readonly files = new Map<string, string>();
  /** The names that were asked for and do not exist. Browsers log an error for each. */
  readonly missing: string[] = [];
  failing = false;

  async list(): Promise<FolderFile[]> {
    return [...this.files.keys()].map(name => ({ name, stamp: this._stamps.get(name) ?? '' }));
  }

  async stamp(name: string): Promise<string | null> {
    if (!this._stamps.has(name)) {
      this.missing.push(name);
    }
    return this._stamps.get(name) ?? null;
  }

  async read(name: string): Promise<string | null> {
    return this.files.get(name) ?? null;
  }

  async write(name: string, content: string): Promise<string> {
    if (this.failing) {
      throw new Error('the disk is full');
    }
    this._count += 1;
    this.files.set(name, content);
    this._stamps.set(name, String(this._count));
    return String(this._count);
  }

  async remove(name: string): Promise<void> {
    this.files.delete(name);
    this._stamps.delete(name);
  }

  private _count = 0;
  private readonly _stamps = new Map<string, string>();
}

/** A browser, whose pages share their storage. */
export class Browser {
  readonly folder = new MemoryFolder();
  private readonly _unsavedTexts = new Map<string, string>();
  private readonly _listeners: { page: Environment; listener: (name: string) => void }[] = [];

  storage(environment: Environment): ConversationStorage {
    return { folder: this.folder, environment, unsaved: this._lifeboat, pages: this._neighbours(environment) };
  }

  private readonly _lifeboat: UnsavedStore = {
    get: key => this._unsavedTexts.get(key) ?? null,
    set: (key, content) => void this._unsavedTexts.set(key, content),
    clear: key => void this._unsavedTexts.delete(key)
  };

  private _neighbours(page: Environment): PageChannel {
    return {
      announce: name => this._listeners.filter(other => other.page !== page).forEach(({ listener }) => listener(name)),
      listen: listener => {
        const entry = { page, listener };
        this._listeners.push(entry);
        return () => void this._listeners.splice(this._listeners.indexOf(entry), 1);
      }
    };
  }
}
