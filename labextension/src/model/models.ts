/** Which models there are, which one is chosen, what it can do, and how far it is on its way into memory. */

import { Memory } from './memory';
import { Observable } from './observable';
import { Attachment, Backend, ChatRequest, Environment, Model, AttachmentCandidate, Delta } from './types';

export const BUILT_IN = 'pico-tiny';
export const BUILT_IN_VISION = 'pico-tiny-vl';
const RETRY_MS = 1500;
/** Between two looks at a load. */
const POLL_MS = 150;
/** An answer of a model that was in memory when somebody looked begins sooner, if it still is. */
const SILENCE_MS = 1000;

export interface ModelsState {
  readonly models: readonly Model[];
  readonly chosen: string;
  readonly loading: boolean;
  readonly problem: string | null;
  /** null until the engine has told. */
  readonly memory: Memory | null;
  /** The models that are being loaded or unloaded, by this page or for an answer that it waits for. */
  readonly busy: readonly string[];
  /** Why a model could not be loaded or unloaded. */
  readonly failure: { readonly model: string; readonly reason: string } | null;
}

const NOTHING_KNOWN = { models: [], loading: true, problem: null, memory: null, busy: [], failure: null };

export class Models {
  /** `preferred` is chosen once it is known to be there; `remember` hears of every choice. */
  constructor(
    private readonly _backend: Backend,
    private readonly _environment: Environment,
    preferred = '',
    private readonly _onChoose: (name: string) => void = () => undefined
  ) {
    this.state = new Observable<ModelsState>({ ...NOTHING_KNOWN, chosen: preferred });
  }

  readonly state: Observable<ModelsState>;

  get chosen(): Model | undefined {
    const { models, chosen } = this.state.get();
    return models.find(model => model.name === chosen);
  }

  /** Ask the server. A choice stays as long as its model is there. */
  async refresh(): Promise<void> {
    this.state.patch({ loading: true });
    try {
      const looked = this._refreshMemory();
      const models = await this._backend.models();
      const { chosen } = this.state.get();
      const fallback = models.find(model => model.resident !== null) ?? models[0];
      const stays = models.some(model => model.name === chosen);
      this.state.patch({ models, chosen: stays ? chosen : (fallback?.name ?? ''), loading: false, problem: null });
      void looked.then(() => this._pollMemory());
    } catch (error) {
      this.state.patch({ loading: false, problem: reasonOf(error) });
    }
  }

  /** The chosen model's name, once it is known. Asks again for as long as the server is away. */
  async ready(): Promise<string> {
    while (!this.state.get().models.length) {
      await this.refresh();
      if (!this.state.get().models.length) {
        await this._pause(RETRY_MS);
      }
    }
    return this.state.get().chosen;
  }

  choose(name: string): void {
    if (name !== this.state.get().chosen) {
      this.state.patch({ chosen: name });
      this._onChoose(name);
    }
  }

  async unload(name: string): Promise<void> {
    await this._changeResidency(name, () => this._backend.unload(name));
  }

  async load(name: string): Promise<void> {
    const arrived = this._trackLoad(name);
    try {
      await this._changeResidency(name, () => this._backend.load(name));
    } finally {
      arrived();
    }
  }

  /** One answer. Until it begins, the state tells how far its model is, if that has to be loaded. */
  async *chat(request: ChatRequest, signal: AbortSignal): AsyncGenerator<Delta, void> {
    const begun = this._trackSilentLoad(request.model);
    try {
      for await (const piece of this._backend.chat(request, signal)) {
        if (piece.kind !== 'progress') {
          begun();
        }
        yield piece;
      }
    } finally {
      begun();
    }
  }

  private async _changeResidency(name: string, move: () => Promise<void>): Promise<void> {
    const moved = this._markBusy(name);
    this.state.patch({ failure: null });
    try {
      await move();
      moved();
      await this.refresh();
    } catch (error) {
      this.state.patch({ failure: { model: name, reason: reasonOf(error) } });
    } finally {
      moved();
    }
  }

  /** Count a model as busy until the result is called. */
  private _markBusy(name: string): () => void {
    this.state.patch({ busy: [...this.state.get().busy, name] });
    return once(() => {
      const { busy } = this.state.get();
      const index = busy.indexOf(name);
      this.state.patch({ busy: busy.filter((_, at) => at !== index) });
    });
  }

  private _trackSilentLoad(name: string): () => void {
    if (this.state.get().models.find(model => model.name === name)?.resident === null) {
      return this._trackLoad(name);
    }
    let begun = (): void => undefined;
    const cancel = this._environment.after(SILENCE_MS, () => (begun = this._trackLoad(name)));
    return () => {
      cancel();
      begun();
    };
  }

  /** Look after a load until the model is there, or the result is called. */
  private _trackLoad(name: string): () => void {
    const wait = { name, moved: this._markBusy(name) };
    this._tracked.add(wait);
    void this._pollMemory();
    return () => {
      wait.moved();
      if (this._tracked.delete(wait)) {
        void this.refresh();
      }
    };
  }

  /** Look again and again, as long as something loads. */
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

  /** Those that were awaited and have come. */
  private _settleArrived(): void {
    const { memory, models } = this.state.get();
    const isHere = (name: string): boolean => memory?.needs.get(name)?.fit === 'loaded';
    const come = [...this._tracked].filter(({ name }) => isHere(name));
    come.forEach(wait => {
      wait.moved();
      this._tracked.delete(wait);
    });
    if (models.some(({ name, resident }) => resident === null && isHere(name))) {
      void this.refresh();
    }
  }

  private _pause(ms: number): Promise<void> {
    return new Promise(resolve => this._environment.after(ms, resolve));
  }

  private readonly _tracked = new Set<{ readonly name: string; readonly moved: () => void }>();
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

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

export function supportsReasoning(model: Model | undefined): boolean {
  return model?.capabilities.includes('thinking') ?? false;
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
