/** Holds the downloads of models, the recommended models and the search of the hub. Downloads continue without a page. */

import { Download, HubModel, isActive, ModelHub, Recommendation } from './hub';
import { Observable } from './observable';
import { Backend, Environment } from './types';
import { reasonOf } from './wire';

/** Delay between two requests while a download is active. */
const POLL_MS = 1000;
/** The models of the first page of a search, and of each further one; and of all, as the server limits them. */
const PAGE = 20;
export const MAX_FOUND = 100;
/** A search starts this long after the last key. */
const SEARCH_MS = 400;

export interface Search {
  readonly words: string;
  readonly isSearching: boolean;
  readonly found: readonly HubModel[];
  /** The number of models that were asked for. If as many were found, there may be more. */
  readonly limit: number;
  readonly problem: string | null;
}

export interface DownloadsState {
  /** `none`: this page reaches no server that could download models. */
  readonly hub: 'unknown' | 'available' | 'none';
  readonly downloads: readonly Download[];
  /** Why the list of downloads could not be updated. */
  readonly silence: string | null;
  readonly recommendation: Recommendation | null;
  /** Why the recommended models cannot be shown, for example because the server downloads no models. */
  readonly problem: string | null;
  /** null while the recommended models are shown. */
  readonly search: Search | null;
  /** Exact descriptions of found models, by name. */
  readonly described: ReadonlyMap<string, HubModel>;
  /** Names of models that wait for the server. */
  readonly busy: readonly string[];
  readonly failure: { readonly model: string; readonly reason: string } | null;
  /** The model that was deleted last. */
  readonly deleted: { readonly model: string; readonly freed: number } | null;
}

const INITIAL_STATE: DownloadsState = {
  hub: 'unknown',
  downloads: [],
  silence: null,
  recommendation: null,
  problem: null,
  search: null,
  described: new Map(),
  busy: [],
  failure: null,
  deleted: null
};

export class Downloads {
  /** `onChange` is called after models were added or deleted. */
  constructor(
    private readonly _backend: Backend,
    private readonly _environment: Environment,
    private readonly _onChange: () => Promise<void>
  ) {}

  readonly state = new Observable<DownloadsState>(INITIAL_STATE);

  find(model: string): Download | undefined {
    return this.state.get().downloads.find(download => download.model.toLowerCase() === model.toLowerCase());
  }

  /** Load the list of downloads, and follow them while one is active. */
  async refresh(): Promise<void> {
    await this._refreshOnce();
    if (this._isPolling) {
      return;
    }
    this._isPolling = true;
    while (this.state.get().downloads.some(isActive)) {
      await new Promise<void>(resolve => this._environment.after(POLL_MS, resolve));
      await this._refreshOnce();
    }
    this._isPolling = false;
  }

  /** Load the recommended models. */
  async loadRecommended(): Promise<void> {
    try {
      const hub = await this._hub();
      const recommendation = (await hub?.recommended()) ?? null;
      this.state.patch({ hub: hub ? 'available' : 'none', recommendation, problem: null });
    } catch (error) {
      this.state.patch({ hub: 'available', problem: reasonOf(error) });
    }
  }

  /** Search the hub once no further words have arrived for a moment. Without words, the recommended models are shown. */
  search(words: string): void {
    this._cancelSearch();
    const { search } = this.state.get();
    if (!words.trim()) {
      this.state.patch({ search: null });
      return;
    }
    this.state.patch({ search: { words, isSearching: true, found: search?.found ?? [], limit: PAGE, problem: null } });
    this._cancelSearch = this._environment.after(SEARCH_MS, () => void this._search(words, PAGE));
  }

  /** Find more models for the words of the search. */
  async searchMore(): Promise<void> {
    const { search } = this.state.get();
    if (search && !search.isSearching) {
      const limit = Math.min(search.limit + PAGE, MAX_FOUND);
      this.state.patch({ search: { ...search, isSearching: true, limit } });
      await this._search(search.words, limit);
    }
  }

  /** Start a download, or resume it. */
  async start(model: string): Promise<void> {
    await this._change(model, hub => hub.download(model));
  }

  async pause(model: string): Promise<void> {
    await this._change(model, hub => hub.pause(model));
  }

  /** Stop a download and delete its files. Of a complete one, only the entry is removed. */
  async cancel(model: string): Promise<void> {
    await this._change(model, hub => hub.cancel(model));
  }

  /** Ask the hub for the exact sizes of a model. */
  async describe(model: string): Promise<void> {
    await this._change(model, async hub => {
      const description = await hub.describe(model);
      this.state.patch({ described: new Map(this.state.get().described).set(model, description) });
    });
  }

  /** Delete a model from the disk. `size`: the bytes that this frees. */
  async remove(model: string, size: number): Promise<void> {
    await this._change(model, async hub => {
      await hub.remove(model);
      this.state.patch({ deleted: { model, freed: size } });
      await this._update();
    });
  }

  private async _change(model: string, change: (hub: ModelHub) => Promise<void>): Promise<void> {
    this.state.patch({ busy: [...this.state.get().busy, model], failure: null, deleted: null });
    try {
      const hub = await this._hub();
      await (hub && change(hub));
      void this.refresh();
    } catch (error) {
      this.state.patch({ failure: { model, reason: reasonOf(error) } });
    } finally {
      this.state.patch({ busy: this.state.get().busy.filter(name => name !== model) });
    }
  }

  private async _refreshOnce(): Promise<void> {
    const before = this.state.get().downloads;
    const downloads = await this._list();
    this.state.patch({ downloads });
    const isIncomplete = (model: string): boolean => downloads.some(download => download.model === model && download.state !== 'complete');
    if (before.some(({ model, state }) => state !== 'complete' && !isIncomplete(model))) {
      await this._update();
    }
  }

  /** The downloads. If the server does not answer, those that it reported last. */
  private async _list(): Promise<readonly Download[]> {
    try {
      const downloads = (await (await this._hub())?.downloads()) ?? [];
      this.state.patch({ silence: null });
      return downloads;
    } catch (error) {
      this.state.patch({ silence: reasonOf(error) });
      return this.state.get().downloads;
    }
  }

  /** Models were added or deleted: load what shows which models are present. */
  private async _update(): Promise<void> {
    const { recommendation, search } = this.state.get();
    await Promise.all([
      this._onChange(),
      recommendation && this.loadRecommended(),
      search && this._search(search.words, search.limit)
    ]);
  }

  private async _search(words: string, limit: number): Promise<void> {
    const answer = await this._ask(words, limit);
    if (this.state.get().search?.words === words) {
      this.state.patch({ search: { words, isSearching: false, limit, ...answer } });
    }
  }

  private async _ask(words: string, limit: number): Promise<{ found: HubModel[]; problem: string | null }> {
    try {
      return { found: (await (await this._hub())?.search(words.trim(), limit)) ?? [], problem: null };
    } catch (error) {
      return { found: [], problem: reasonOf(error) };
    }
  }

  private async _hub(): Promise<ModelHub | null> {
    const hub = await this._backend.hub();
    if (!hub) {
      this.state.patch({ hub: 'none' });
    }
    return hub;
  }

  private _cancelSearch: () => void = () => undefined;
  private _isPolling = false;
}
