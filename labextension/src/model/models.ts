/** Which models there are, which one is chosen, what it can do, and how far it is on its way into memory. */

import { Memory } from './memory';
import { Observable } from './observable';
import { Attachment, Backend, ChatRequest, Environment, Model, Offer, Piece } from './types';

export const BUILT_IN = 'pico-tiny';
export const BUILT_IN_SIGHT = 'pico-tiny-vl';
const WAIT_MS = 1500;
/** Between two looks at a load. */
const LOOK_MS = 150;
/** An answer of a model that was in memory when somebody looked begins sooner, if it still is. */
const QUIET_MS = 1000;

export interface ModelsState {
  readonly models: readonly Model[];
  readonly chosen: string;
  readonly loading: boolean;
  readonly problem: string | null;
  /** null until the engine has told. */
  readonly memory: Memory | null;
  /** The models that are being loaded or unloaded, by this page or for an answer that it waits for. */
  readonly moving: readonly string[];
  /** Why a model could not be loaded or unloaded. */
  readonly failure: { readonly model: string; readonly reason: string } | null;
}

const NOTHING_KNOWN = { models: [], loading: true, problem: null, memory: null, moving: [], failure: null };

export class Models {
  /** `preferred` is chosen once it is known to be there; `remember` hears of every choice. */
  constructor(
    private readonly _backend: Backend,
    private readonly _environment: Environment,
    preferred = '',
    private readonly _remember: (name: string) => void = () => undefined
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
      const looked = this._look();
      const models = await this._backend.models();
      const { chosen } = this.state.get();
      const fallback = models.find(model => model.resident !== null) ?? models[0];
      const stays = models.some(model => model.name === chosen);
      this.state.patch({ models, chosen: stays ? chosen : (fallback?.name ?? ''), loading: false, problem: null });
      void looked.then(() => this._watch());
    } catch (error) {
      this.state.patch({ loading: false, problem: reasonOf(error) });
    }
  }

  /** The chosen model's name, once it is known. Asks again for as long as the server is away. */
  async ready(): Promise<string> {
    while (!this.state.get().models.length) {
      await this.refresh();
      if (!this.state.get().models.length) {
        await this._pause(WAIT_MS);
      }
    }
    return this.state.get().chosen;
  }

  choose(name: string): void {
    if (name !== this.state.get().chosen) {
      this.state.patch({ chosen: name });
      this._remember(name);
    }
  }

  async unload(name: string): Promise<void> {
    await this._move(name, () => this._backend.unload(name));
  }

  async load(name: string): Promise<void> {
    const arrived = this._await(name);
    try {
      await this._move(name, () => this._backend.load(name));
    } finally {
      arrived();
    }
  }

  /** One answer. Until it begins, the state tells how far its model is, if that has to be loaded. */
  async *chat(request: ChatRequest, signal: AbortSignal): AsyncGenerator<Piece, void> {
    const begun = this._awaitInSilence(request.model);
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

  private async _move(name: string, move: () => Promise<void>): Promise<void> {
    const moved = this._mark(name);
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

  /** Count a model as moving until the result is called. */
  private _mark(name: string): () => void {
    this.state.patch({ moving: [...this.state.get().moving, name] });
    return once(() => {
      const { moving } = this.state.get();
      const index = moving.indexOf(name);
      this.state.patch({ moving: moving.filter((_, at) => at !== index) });
    });
  }

  private _awaitInSilence(name: string): () => void {
    if (this.state.get().models.find(model => model.name === name)?.resident === null) {
      return this._await(name);
    }
    let begun = (): void => undefined;
    const cancel = this._environment.after(QUIET_MS, () => (begun = this._await(name)));
    return () => {
      cancel();
      begun();
    };
  }

  /** Look after a load until the model is there, or the result is called. */
  private _await(name: string): () => void {
    const wait = { name, moved: this._mark(name) };
    this._awaited.add(wait);
    void this._watch();
    return () => {
      wait.moved();
      if (this._awaited.delete(wait)) {
        void this.refresh();
      }
    };
  }

  /** Look again and again, as long as something loads. */
  private async _watch(): Promise<void> {
    if (this._isWatching) {
      return;
    }
    this._isWatching = true;
    while (this._awaited.size || this.state.get().memory?.loading) {
      await this._look();
      this._welcome();
      await this._pause(LOOK_MS);
    }
    this._isWatching = false;
  }

  private async _look(): Promise<void> {
    this.state.patch({ memory: await this._backend.memory().catch(() => null) });
  }

  /** Those that were awaited and have come. */
  private _welcome(): void {
    const { memory, models } = this.state.get();
    const isHere = (name: string): boolean => memory?.needs.get(name)?.fit === 'loaded';
    const come = [...this._awaited].filter(({ name }) => isHere(name));
    come.forEach(wait => {
      wait.moved();
      this._awaited.delete(wait);
    });
    if (models.some(({ name, resident }) => resident === null && isHere(name))) {
      void this.refresh();
    }
  }

  private _pause(ms: number): Promise<void> {
    return new Promise(resolve => this._environment.after(ms, resolve));
  }

  private readonly _awaited = new Set<{ readonly name: string; readonly moved: () => void }>();
  private _isWatching = false;
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

export function canReason(model: Model | undefined): boolean {
  return model?.capabilities.includes('thinking') ?? false;
}

export function canSee(model: Model | undefined): boolean {
  return model?.capabilities.includes('vision') ?? false;
}

export function canWatch(model: Model | undefined): boolean {
  return model?.capabilities.includes('video') ?? false;
}

export function canTake(model: Model | undefined, kind: Offer['kind']): kind is Attachment['kind'] {
  return { text: true, image: canSee(model), video: canWatch(model), other: false, large: false }[kind];
}
