/** Builds the prompts of inline completion, and cuts the answers to what fits between the prefix and the suffix. */

import { Json } from './json';
import { Model } from './types';

/** A cell above the cursor. */
export interface Neighbour {
  readonly kind: 'code' | 'markdown' | 'raw';
  readonly source: string;
}

/** The place of a cursor: the text before and after it in its cell or file, and the cells above, in order. */
export interface Place {
  readonly prefix: string;
  readonly suffix: string;
  readonly language: string;
  readonly above: readonly Neighbour[];
}

const MAX_PREFIX = 6000;
const MAX_SUFFIX = 1000;
/** A cautious number of characters per token of code. */
const TOKEN_LENGTH = 2;
const MAX_TOKENS = 64;
/** A repeat of the suffix that is shorter than this may be a coincidence, unless it is a whole line. */
const MIN_REPEAT = 3;
const HASH_LANGUAGES = ['python', 'r', 'julia', 'ruby', 'sh', 'bash', 'perl', 'yaml', 'toml'];

/** The language of a MIME type: python for text/x-ipython. */
export function languageOf(mimeType: string): string {
  const name = mimeType.replace(/^[^/]*\/(x-)?/, '').replace(/;.*/, '');
  const names: Record<string, string> = { ipython: 'python', ipythongfm: 'markdown', rsrc: 'r' };
  return names[name] ?? (name || 'plain');
}

/** The model that completes: the one of the setting, or else the smallest one in memory that reads a suffix. */
export function completionModel(models: readonly Model[], setting: string): Model | undefined {
  if (setting) {
    return models.find(({ name }) => name === setting);
  }
  const able = models.filter(model => model.resident !== null && canInsert(model));
  return able.sort((one, other) => one.size - other.size)[0];
}

export function canInsert(model: Model): boolean {
  return model.capabilities.includes('insert');
}

/** The path and the body of the request that completes a place. */
export function completionRequest(model: Model, place: Place): { readonly path: string; readonly body: Json } {
  const room = model.context ? Math.max(0, (model.context - MAX_TOKENS) * TOKEN_LENGTH) : MAX_PREFIX + MAX_SUFFIX;
  const suffix = place.suffix.slice(0, Math.min(MAX_SUFFIX, Math.floor(room / 4)));
  const prefix = promptPrefix(place, Math.min(MAX_PREFIX, room - suffix.length));
  const stop = isMiddleOfLine(place) ? ['\n'] : ['\n\n'];
  const common = { model: model.name, stream: true, temperature: 0, max_tokens: MAX_TOKENS, priority: 1 };
  return canInsert(model)
    ? { path: 'v1/completions', body: { ...common, prompt: prefix, suffix: suffix || '\n', stop } }
    : { path: 'v1/chat/completions', body: { ...common, messages: chatMessages(place, prefix, suffix), ...quiet(model) } };
}

function quiet(model: Model): Json {
  return model.capabilities.includes('thinking') ? { reasoning: { effort: 'off' } } : {};
}

function chatMessages({ language }: Place, prefix: string, suffix: string): readonly Json[] {
  const after = suffix.trim() ? `\n\nIt is followed by:\n${suffix}` : '';
  const task = `Continue this ${language} code. Answer only with the text that comes next.`;
  return [{ role: 'user', content: `${task}${after}\n\nThe code:\n${prefix}` }];
}

/** The text before the cursor, with as many whole cells above it as fit, the nearest first. */
export function promptPrefix(place: Place, budget: number): string {
  let prefix = place.prefix.slice(-budget || place.prefix.length);
  for (const cell of [...place.above].reverse()) {
    const text = cellText(cell, place.language);
    if (prefix.length + text.length + 2 > budget) {
      break;
    }
    prefix = text ? `${text}\n\n${prefix}` : prefix;
  }
  return prefix;
}

function cellText({ kind, source }: Neighbour, language: string): string {
  const mark = HASH_LANGUAGES.includes(language) ? '#' : '//';
  const text = source.trim();
  return kind === 'code' || !text ? text : text.split('\n').map(line => `${mark} ${line}`.trimEnd()).join('\n');
}

function isMiddleOfLine({ suffix }: Place): boolean {
  return suffix.split('\n', 1)[0].trim() !== '';
}

/** The part of an answer that is shown. `isChat`: the answer may have a fence, and may repeat the line before the cursor. */
export function fit(answer: string, place: Place, isChat: boolean): string {
  let text = isChat ? withoutLineStart(withoutFence(answer), place.prefix) : answer;
  if (isMiddleOfLine(place)) {
    text = text.split('\n', 1)[0];
  }
  return withoutRepeat(text, place.suffix).trimEnd();
}

/** The code of an answer whose code is fenced. The closing fence may not have arrived yet. */
function withoutFence(answer: string): string {
  const fenced = /^\s*(`{3,})[^\n]*(?:\n|$)([\s\S]*)$/.exec(answer);
  if (!fenced) {
    return /^\s*`{1,2}$/.test(answer) ? '' : answer;
  }
  const [, fence, code] = fenced;
  const lines = code.split('\n');
  const end = lines.findIndex((line, index) => line.startsWith(fence) || (index === lines.length - 1 && /^`+$/.test(line)));
  return (end < 0 ? lines : lines.slice(0, end)).join('\n');
}

function withoutLineStart(text: string, prefix: string): string {
  const line = prefix.slice(prefix.lastIndexOf('\n') + 1);
  return line.trim() && text.startsWith(line) ? text.slice(line.length) : text;
}

/** Removes from the end of a text what the suffix begins with. */
function withoutRepeat(text: string, suffix: string): string {
  const [line] = suffix.split('\n', 1);
  const next = suffix.trimStart().split('\n', 1)[0].trimEnd();
  if (line.trim() && text.endsWith(line)) {
    return text.slice(0, -line.length);
  }
  const lines = text.split('\n');
  const repeated = next.length >= MIN_REPEAT ? lines.findIndex((one, index) => index > 0 && one.trim() === next.trim()) : -1;
  return repeated < 0 ? text : lines.slice(0, repeated).join('\n');
}
