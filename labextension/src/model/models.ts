/** Which models there are, which one is chosen, what it can do. */

import { Observable } from './observable';
import { Attachment, Backend, Environment, Model, Offer } from './types';

export const BUILT_IN = 'pico-tiny';
export const BUILT_IN_SIGHT = 'pico-tiny-vl';
const WAIT_MS = 1500;

export interface ModelsState {
  readonly models: readonly Model[];
  readonly chosen: string;
  readonly loading: boolean;
  readonly problem: string | null;
  /** The model that is being loaded or unloaded. */
  readonly moving: string | null;
}

export class Models {
  /** `preferred` is chosen once it is known to be there; `remember` hears of every choice. */
  constructor(
    private readonly _backend: Backend,
    private readonly _environment: Environment,
    preferred = '',
    private readonly _remember: (name: string) => void = () => undefined
  ) {
    this.state = new Observable<ModelsState>({ models: [], chosen: preferred, loading: true, problem: null, moving: null });
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
      const models = await this._backend.models();
      const { chosen } = this.state.get();
      const fallback = models.find(model => model.resident !== null) ?? models[0];
      const stays = models.some(model => model.name === chosen);
      this.state.patch({ models, chosen: stays ? chosen : (fallback?.name ?? ''), loading: false, problem: null });
    } catch (error) {
      this.state.patch({ loading: false, problem: error instanceof Error ? error.message : String(error) });
    }
  }

  /** The chosen model's name, once it is known. Asks again for as long as the server is away. */
  async ready(): Promise<string> {
    while (!this.state.get().models.length) {
      await this.refresh();
      if (!this.state.get().models.length) {
        await new Promise<void>(resolve => this._environment.after(WAIT_MS, resolve));
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
    await this._move(name, () => this._backend.load(name));
  }

  private async _move(name: string, move: () => Promise<void>): Promise<void> {
    this.state.patch({ moving: name });
    try {
      await move();
      await this.refresh();
    } catch (error) {
      this.state.patch({ problem: error instanceof Error ? error.message : String(error) });
    } finally {
      this.state.patch({ moving: null });
    }
  }
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

export function bytes(count: number): string {
  const scale = [1e9, 1e6, 1e3].findIndex(unit => count >= unit);
  const [unit, name] = [[1e9, 'GB'], [1e6, 'MB'], [1e3, 'kB']][scale] ?? [1, 'B'];
  const value = count / Number(unit);
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${name}`;
}
