/** Describes downloads and the models of the Hugging Face hub, and decodes the server's answers about them. */

import { array, number, object, oneOf, string } from './json';
import { Model } from './types';

export type DownloadState = 'queued' | 'running' | 'paused' | 'failed' | 'complete';

/** Sizes are in bytes. */
export interface Download {
  /** `owner/name`. */
  readonly model: string;
  readonly state: DownloadState;
  readonly completed: number;
  /** null until it is known. So is `rate`, in bytes per second, and `secondsLeft`. */
  readonly total: number | null;
  readonly rate: number | null;
  readonly secondsLeft: number | null;
  /** Why the download failed; empty if it did not. */
  readonly error: string;
}

/** `tight`: only after other programs or models free memory. */
export type HubFit = 'yes' | 'tight' | 'no';

/** A model of the hub. A number is null and a text is empty if the server does not know it. */
export interface HubModel {
  /** `owner/name`. */
  readonly model: string;
  readonly title: string;
  readonly description: string;
  readonly license: string;
  readonly capabilities: readonly string[];
  readonly diskBytes: number | null;
  readonly memoryBytes: number | null;
  readonly parameters: string;
  readonly quantization: string;
  readonly fit: HubFit | null;
  /** Whether the model is complete on the server's machine. */
  readonly isPresent: boolean;
  /** The memory of the machines that the model is recommended for, in GB. */
  readonly machineGb: number | null;
  readonly isGated: boolean;
  /** Why the server cannot run the model; empty if it can. */
  readonly problem: string;
}

export interface Recommendation {
  /** The memory of the server's machine, in bytes. */
  readonly total: number;
  readonly free: number;
  readonly models: readonly HubModel[];
}

/** A folder with files of a model that the server does not list. */
export interface SkippedFolder {
  readonly name: string;
  readonly path: string;
  readonly reason: string;
}

/** The part of a server that gets and deletes models. */
export interface ModelHub {
  downloads(): Promise<Download[]>;
  /** Start a download, or resume it. */
  download(model: string): Promise<void>;
  pause(model: string): Promise<void>;
  /** Stop a download and delete its files. Of a complete one, only the entry is removed. */
  cancel(model: string): Promise<void>;
  recommended(): Promise<Recommendation>;
  /** At most `limit` models, at most 100. */
  search(words: string, limit: number): Promise<HubModel[]>;
  describe(model: string): Promise<HubModel>;
  /** Delete a model from the disk. */
  remove(name: string): Promise<void>;
}

export function isActive({ state }: Download): boolean {
  return state === 'queued' || state === 'running';
}

/** The downloaded share from 0 to 1; null if it is unknown. */
export function downloadedShare({ completed, total }: Download): number | null {
  return total ? Math.min(1, completed / total) : null;
}

/** The name without its owner. */
export function shortName(repo: string): string {
  return repo.slice(repo.indexOf('/') + 1);
}

/** The model on this machine that has the name of a repository: the whole name, or the part after the owner. */
export function localModel(repo: string, models: readonly Model[]): Model | undefined {
  const find = (name: string): Model | undefined => models.find(model => model.name.toLowerCase() === name.toLowerCase());
  return find(repo) ?? find(shortName(repo));
}

export interface MachineGroups {
  /** Recommended for machines of this size, for smaller machines, and for larger ones. */
  readonly best: readonly HubModel[];
  readonly smaller: readonly HubModel[];
  readonly larger: readonly HubModel[];
}

/** Group the recommended models by the memory of the machine. The system reports a little less than was built in. */
export function groupByMachine({ total, models }: Recommendation): MachineGroups {
  const memoryGb = (1.1 * total) / 2 ** 30;
  const size = Math.max(0, ...models.map(({ machineGb }) => machineGb ?? 0).filter(gb => gb <= memoryGb));
  return {
    best: models.filter(({ machineGb }) => machineGb === size),
    smaller: models.filter(({ machineGb }) => (machineGb ?? 0) < size),
    larger: models.filter(({ machineGb }) => (machineGb ?? 0) > size)
  };
}

export function readDownloads(answer: unknown): Download[] {
  return array(object(answer).downloads).map(object).map(download => ({
    model: string(download.model),
    state: oneOf(download.state, ['queued', 'running', 'paused', 'failed', 'complete'], 'paused'),
    completed: number(download.completed),
    total: optionalNumber(download.total),
    rate: optionalNumber(download.rate),
    secondsLeft: optionalNumber(download.seconds_left),
    error: string(download.error)
  }));
}

export function readRecommendation(answer: unknown): Recommendation {
  const { memory, models } = object(answer);
  return { total: number(object(memory).total), free: number(object(memory).free), models: readHubModels({ models }) };
}

export function readHubModels(answer: unknown): HubModel[] {
  return array(object(answer).models).map(readHubModel);
}

export function readHubModel(answer: unknown): HubModel {
  const model = object(answer);
  return {
    model: string(model.model),
    title: string(model.title, string(model.model)),
    description: string(model.description),
    license: string(model.license),
    capabilities: array(model.capabilities).map(capability => string(capability)),
    diskBytes: optionalNumber(model.disk_bytes),
    memoryBytes: optionalNumber(model.memory_bytes),
    parameters: string(model.parameters),
    quantization: string(model.quantization),
    fit: oneOf<HubFit | ''>(model.fits, ['yes', 'tight', 'no'], '') || null,
    isPresent: model.state === 'present',
    machineGb: optionalNumber(model.machine_gb),
    isGated: model.gated === true,
    problem: string(model.problem)
  };
}

export function readSkipped(answer: unknown): SkippedFolder[] {
  const folders = array(object(answer).skipped).map(object);
  return folders.map(({ name, path, reason }) => ({ name: string(name), path: string(path), reason: string(reason) }));
}

function optionalNumber(value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value) ? value : null;
}
