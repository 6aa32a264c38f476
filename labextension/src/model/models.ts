/** Holds the list of models and the chosen one, loads and unloads models, and reports the progress of loads. */

import { Downloads } from './downloads';
import { SkippedFolder } from './hub';
import { Memory } from './memory';
import { Observable } from './observable';
import { Attachment, AttachmentCandidate, Backend, ChatRequest, Delta, Environment, Model } from './types';
import { reasonOf } from './wire';

export const BUILT_IN = 'pico-tiny';
export const BUILT_IN_VISION = 'pico-tiny-vl';
/** Delay between two requests while the server is unreachable. */
const RETRY_MS = 1500;
/** Delay between two requests while a model loads. */
const POLL_MS = 150;
/** A model in memory answers within this time. If it does not, it was probably unloaded. */
const SILENCE_MS = 1000;

export interface ModelsState {
  readonly models: readonly Model[];
  readonly chosenName: string;
  readonly loading: boolean;
  readonly problem: string | null;
  /** null if the engine has not reported it. */
  readonly memory: Memory | null;
  /** Names of models that load or unload because of this page. A name is listed once for each operation. */
  readonly busy: readonly string[];
  /** Why a model could not be loaded or unloaded. */
  readonly failure: { readonly model: string; readonly reason: string } | null;
  /** Folders with files of a model that are not listed. */
  readonly skipped: readonly SkippedFolder[];
}

const INITIAL_STATE = { models: [], loading: true, problem: null, memory: null, busy: [], failure: null, skipped: [] };

export class Models {
  /** `preferred` stays chosen if the server lists it. `onChoose` is called with each new choice of the user. */
  constructor(
    private readonly _backend: Backend,
    private readonly _environment: Environment,
    preferred = '',
    private readonly _onChoose: (name: string) => void = () => undefined
  ) {
    this.state = new Observable<ModelsState>({ ...INITIAL_STATE, chosenName: preferred });
    this.downloads = new Downloads(_backend, _environment, () => this.refresh());
  }

  readonly downloads: Downloads;

  readonly state: Observable<ModelsState>;

  get chosen(): Model | undefined {
    const { models, chosenName } = this.state.get();
    return models.find(model => model.name === chosenName);
  }

  /** Load the list from the server. The chosen model changes only if it is no longer listed. */
  async refresh(): Promise<void> {
    this.state.patch({ loading: true });
    void this.downloads.refresh();
    try {
      const reported = this._refreshMemory();
      const models = await this._backend.models();
      const { chosenName } = this.state.get();
      const fallback = models.find(model => model.resident !== null) ?? models[0];
      const isListed = models.some(model => model.name === chosenName);
      this.state.patch({ models, chosenName: isListed ? chosenName : (fallback?.name ?? ''), loading: false, problem: null });
      void reported.then(() => this._pollMemory());
    } catch (error) {
      this.state.patch({ loading: false, problem: reasonOf(error) });
    }
  }

  /** Load the list of the folders that are not listed. A server without this list has none. */
  async refreshSkipped(): Promise<void> {
    this.state.patch({ skipped: await this._backend.skipped().catch(() => []) });
  }

  /** The chosen model's name. Retries until the server lists a model. */
  async ready(): Promise<string> {
    while (!this.state.get().models.length) {
      await this.refresh();
      if (!this.state.get().models.length) {
        await this._pause(RETRY_MS);
      }
    }
    return this.state.get().chosenName;
  }

  choose(name: string): void {
    if (name !== this.state.get().chosenName) {
      this.state.patch({ chosenName: name });
      this._onChoose(name);
    }
  }

  async unload(name: string): Promise<void> {
    await this._changeResidency(name, () => this._backend.unload(name));
  }

  async load(name: string): Promise<void> {
    const stopTracking = this._trackLoad(name);
    try {
      await this._changeResidency(name, () => this._backend.load(name));
    } finally {
      stopTracking();
    }
  }

  /** Streams one answer. While its model loads, the state reports the progress. */
  async *chat(request: ChatRequest, signal: AbortSignal): AsyncGenerator<Delta, void> {
    const stopTracking = this._trackSilentLoad(request.model);
    try {
      for await (const delta of this._backend.chat(request, signal)) {
        if (delta.kind !== 'progress') {
          stopTracking();
        }
        yield delta;
      }
    } finally {
      stopTracking();
    }
  }

  private async _changeResidency(name: string, change: () => Promise<void>): Promise<void> {
    const release = this._markBusy(name);
    this.state.patch({ failure: null });
    try {
      await change();
      release();
      await this.refresh();
    } catch (error) {
      this.state.patch({ failure: { model: name, reason: reasonOf(error) } });
    } finally {
      release();
    }
  }

  /** Mark a model as loading or unloading. Returns a function that removes the mark. */
  private _markBusy(name: string): () => void {
    this.state.patch({ busy: [...this.state.get().busy, name] });
    return once(() => {
      const { busy } = this.state.get();
      const index = busy.indexOf(name);
      this.state.patch({ busy: busy.filter((_, at) => at !== index) });
    });
  }

  /** Track the load of a model that was listed as in memory, but does not answer in time. */
  private _trackSilentLoad(name: string): () => void {
    if (this.state.get().models.find(model => model.name === name)?.resident === null) {
      return this._trackLoad(name);
    }
    let stopTracking = (): void => undefined;
    const cancel = this._environment.after(SILENCE_MS, () => (stopTracking = this._trackLoad(name)));
    return () => {
      cancel();
      stopTracking();
    };
  }

  /** Poll the progress of a load until the model is in memory or the returned function is called. */
  private _trackLoad(name: string): () => void {
    const wait = { name, release: this._markBusy(name) };
    this._tracked.add(wait);
    void this._pollMemory();
    return () => {
      wait.release();
      if (this._tracked.delete(wait)) {
        void this.refresh();
      }
    };
  }

  /** Poll the memory report while a model loads. */
  private async _pollMemory(): Promise<void> {
    if (this._isPolling) {
      return;
    }
    this._isPolling = true;
    while (this._tracked.size || this.state.get().memory?.loading) {
      await this._refreshMemory();
      this._settleArrived();
      await this._pause(POLL_MS);
    }
    this._isPolling = false;
  }

  private async _refreshMemory(): Promise<void> {
    this.state.patch({ memory: await this._backend.memory().catch(() => null) });
  }

  /** Stop tracking the models that are in memory now. */
  private _settleArrived(): void {
    const { memory, models } = this.state.get();
    const isLoaded = (name: string): boolean => memory?.needs.get(name)?.fit === 'loaded';
    const arrived = [...this._tracked].filter(({ name }) => isLoaded(name));
    arrived.forEach(wait => {
      wait.release();
      this._tracked.delete(wait);
    });
    if (models.some(({ name, resident }) => resident === null && isLoaded(name))) {
      void this.refresh();
    }
  }

  private _pause(ms: number): Promise<void> {
    return new Promise(resolve => this._environment.after(ms, resolve));
  }

  private readonly _tracked = new Set<{ readonly name: string; readonly release: () => void }>();
  private _isPolling = false;
}

function once(run: () => void): () => void {
  let isDone = false;
  return () => {
    if (!isDone) {
      isDone = true;
      run();
    }
  };
}

/** Whether a model is part of pico_jupyter. */
export function isBuiltIn(name: string): boolean {
  return name === BUILT_IN || name === BUILT_IN_VISION;
}

export function supportsReasoning(model: Model | undefined): boolean {
  return model?.capabilities.includes('thinking') ?? false;
}

export function supportsTools(model: Model | undefined): boolean {
  return model?.capabilities.includes('tools') ?? false;
}

export function supportsImages(model: Model | undefined): boolean {
  return model?.capabilities.includes('vision') ?? false;
}

export function supportsVideo(model: Model | undefined): boolean {
  return model?.capabilities.includes('video') ?? false;
}

export function supportsAttachment(model: Model | undefined, kind: AttachmentCandidate['kind']): kind is Attachment['kind'] {
  return { text: true, image: supportsImages(model), video: supportsVideo(model), other: false, large: false }[kind];
}
