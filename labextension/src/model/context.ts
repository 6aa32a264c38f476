/** What a question can carry of the open notebook, and how `@` in the message selects it. */

import { AttachmentCandidate, Message } from './types';

/** A part of the notebook or of the server that a message can carry. */
export interface ContextSource {
  /** The word after `@`. */
  readonly id: 'cell' | 'notebook' | 'error' | 'variables' | 'file';
  readonly label: string;
  /** What it would attach now, or why it cannot; shown beside the label. */
  readonly hint: () => string;
  /** Reads it. `budget` is the number of characters that fit. Throws an Error with a reason that users understand. */
  readonly read: (budget: number) => Promise<readonly AttachmentCandidate[]>;
}

/** `@` and the word after it, where the cursor is. */
export interface Mention {
  readonly start: number;
  readonly end: number;
  readonly word: string;
}

/** The mention at the cursor. An `@` inside a word, as in an address or before a decorator's name, is no mention. */
export function mentionAt(text: string, cursor: number): Mention | null {
  const match = /(?:^|[\s(])@([a-z]*)$/i.exec(text.slice(0, cursor));
  return match && { start: cursor - match[1].length - 1, end: cursor, word: match[1].toLowerCase() };
}

/** The text without the mention and one of the blanks around it. */
export function withoutMention(text: string, { start, end }: Mention): string {
  const after = text.slice(end);
  return text.slice(0, start) + (/\s$|^$/.test(text.slice(0, start)) ? after.replace(/^ /, '') : after);
}

export function matchingSources(sources: readonly ContextSource[], word: string): readonly ContextSource[] {
  return sources.filter(({ id }) => id.startsWith(word));
}

/** Characters of a token, on average; models differ from 2.5 to 4.5. */
const CHARACTERS_PER_TOKEN = 3;
/** The share of the context that attachments of one message may fill. */
const SHARE = 0.5;
/** For models whose context is unknown. */
const UNKNOWN_CONTEXT = 8192;

/** The number of characters that one more attachment may have. `used`: characters that are attached already. */
export function contextBudget(contextTokens: number, used: number): number {
  return Math.max(0, Math.floor((contextTokens || UNKNOWN_CONTEXT) * CHARACTERS_PER_TOKEN * SHARE) - used);
}

/** Cuts the middle of a text that has more than `limit` characters. */
export function cutMiddle(text: string, limit: number): string {
  if (text.length <= limit) {
    return text;
  }
  const mark = `\n… ${text.length - limit} characters left out …\n`;
  const kept = Math.max(0, limit - mark.length);
  return text.slice(0, Math.ceil(kept / 2)) + mark + (kept > 1 ? text.slice(-Math.floor(kept / 2)) : '');
}

/** Whether the conversation contains the text already: the latest attachment with this name is the same. */
export function isSent(messages: readonly Message[], { name, data }: AttachmentCandidate): boolean {
  const sent = messages.flatMap(({ attachments }) => attachments ?? []).filter(attachment => attachment.name === name);
  return sent.at(-1)?.data === data;
}

/** A cell of a notebook, for its outline. */
export interface OutlineCell {
  readonly kind: string;
  readonly source: string;
}

/** The sources of all cells that fit into `budget`, those next to the cell at `active` first. Others have their first line only. */
export function notebookText(cells: readonly OutlineCell[], active: number, budget: number): string {
  const title = (index: number): string => `# Cell ${index + 1} (${cells[index].kind}${index === active ? ', active' : ''})`;
  const whole = cells.map(({ source }, index) => `${title(index)}\n${source}\n`);
  const short = cells.map(({ source }, index) => `${title(index)}\n${firstLine(source)}\n`);
  const nearest = cells.map((_, index) => index).sort((one, other) => Math.abs(one - active) - Math.abs(other - active) || one - other);
  const shown = new Set<number>();
  let length = short.reduce((sum, text) => sum + text.length + 1, 0);
  for (const index of nearest) {
    const growth = whole[index].length - short[index].length;
    if (length + growth <= budget) {
      shown.add(index);
      length += growth;
    }
  }
  const text = cells.map((_, index) => (shown.has(index) ? whole[index] : short[index])).join('\n');
  return cutMiddle(text, budget);
}

function firstLine(source: string): string {
  const [line] = source.trim().split('\n', 1);
  return line === source.trim() ? line : `${line} …`;
}

/** A variable of the kernel. */
export interface Variable {
  readonly name: string;
  readonly type: string;
  /** Its shape, length or short value, or ''. */
  readonly detail: string;
}

export function variablesText(variables: readonly Variable[], budget: number): string {
  return cutMiddle(variables.map(({ name, type, detail }) => `${name}: ${type}${detail ? ` ${detail}` : ''}`).join('\n'), budget);
}
