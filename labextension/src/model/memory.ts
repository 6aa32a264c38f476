/** How the memory for models stands, as the engine says it, and sizes in words. */

import { array, Json, number, object, oneOf, string } from './json';

/** `later`: when running hasPicoEndpoints are done. */
export type Fit = 'loaded' | 'fits' | 'later' | 'never';

/** Bytes of a model's weights once it is loaded, and whether they fit. */
export interface Need {
  readonly size: number;
  readonly fit: Fit;
}

export interface Loading {
  readonly model: string;
  readonly done: number;
  readonly total: number;
}

/** In formatBytes. */
export interface Memory {
  /** For all models and their conversations. */
  readonly budget: number;
  readonly used: number;
  /** What a model that is loaded now may have: idle ones leave for it. */
  readonly available: number;
  /** The engine starts, and then loads what was asked for. */
  readonly isStarting: boolean;
  readonly loading: Loading | null;
  readonly needs: ReadonlyMap<string, Need>;
}

export function readMemory(answer: unknown): Memory {
  const report = object(answer);
  return {
    budget: number(report.budget),
    used: number(report.used),
    available: number(report.available),
    isStarting: report.is_starting === true,
    loading: report.loading ? readLoading(object(report.loading)) : null,
    needs: new Map(array(report.needs).map(object).map(need => [string(need.model), readNeed(need)]))
  };
}

function readLoading(loading: Json): Loading {
  return { model: string(loading.model), done: number(loading.done), total: number(loading.total) };
}

function readNeed(need: Json): Need {
  return { size: number(need.size), fit: oneOf(need.fit, ['loaded', 'fits', 'later', 'never'], 'fits') };
}

/** So many formatBytes in words, two digits or more. */
export function formatBytes(count: number): string {
  return format(count, Math.round);
}

/** Rounded up: for what is needed. */
export function formatRoundedUp(count: number): string {
  return format(count, Math.ceil);
}

/** Rounded down: for what there is. */
export function formatRoundedDown(count: number): string {
  return format(count, Math.floor);
}

function format(count: number, whole: (value: number) => number): string {
  const found = ([[1e9, 'GB'], [1e6, 'MB'], [1e3, 'kB']] as const).find(([unit]) => count >= unit);
  if (!found) {
    return `${count} B`;
  }
  const [unit, name] = found;
  const tenths = whole((10 * count) / unit);
  return `${tenths < 100 ? (tenths / 10).toFixed(1) : whole(count / unit)} ${name}`;
}
