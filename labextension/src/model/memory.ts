/** Decodes the engine's memory report, and formats sizes and durations. */

import { array, Json, number, object, oneOf, string } from './json';

/** `later`: fits once running answers are complete. */
export type Fit = 'loaded' | 'fits' | 'later' | 'never';

/** Bytes that a model needs in memory, and whether they fit. */
export interface Need {
  readonly size: number;
  readonly fit: Fit;
  /** Whether the model fits into the budget, but not into the memory of the machine that is free now. */
  readonly isTight: boolean;
  /** Idle models whose memory would suffice. */
  readonly unload: readonly string[];
}

export interface Loading {
  readonly model: string;
  readonly done: number;
  readonly total: number;
}

/** All sizes are in bytes. */
export interface Memory {
  /** The limit for all models and their KV caches. */
  readonly budget: number;
  readonly used: number;
  /** The memory that the next model may use. It includes the memory of idle models, because they are unloaded for it. */
  readonly available: number;
  /** Whether the engine is starting. Models can load only after the start. */
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
  return {
    size: number(need.size),
    fit: oneOf(need.fit, ['loaded', 'fits', 'later', 'never'], 'fits'),
    isTight: need.is_tight === true,
    unload: array(need.unload).map(name => string(name))
  };
}

/** A size with its unit, for example "2.5 kB". */
export function formatBytes(count: number): string {
  return format(count, Math.round);
}

/** A size rounded up, for the memory that a model needs. */
export function formatRoundedUp(count: number): string {
  return format(count, Math.ceil);
}

/** A size rounded down, for available memory. */
export function formatRoundedDown(count: number): string {
  return format(count, Math.floor);
}

/** A duration, for example "48 s", "3 min" or "1 h 20 min". */
export function formatDuration(seconds: number): string {
  const minutes = Math.round(seconds / 60);
  if (seconds < 90) {
    return `${Math.max(1, Math.round(seconds))} s`;
  }
  const rest = minutes % 60 ? ` ${minutes % 60} min` : '';
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h${rest}`;
}

function format(count: number, round: (value: number) => number): string {
  const found = ([[1e9, 'GB'], [1e6, 'MB'], [1e3, 'kB']] as const).find(([unit]) => count >= unit);
  if (!found) {
    return `${count} B`;
  }
  const [unit, name] = found;
  const tenths = round((10 * count) / unit);
  return `${tenths < 100 ? (tenths / 10).toFixed(1) : round(count / unit)} ${name}`;
}
