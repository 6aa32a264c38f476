/** A conversation as a file: JSON that people can read, and how two versions of one become one. Pure. */

import { array, Json, number, object, oneOf, parseJson, string } from './json';
import { Attachment, Message, Stats, Status, Transcript } from './types';

const FORMAT = 'pico_jupyter.chat';
/** An answer of another page that has not grown for so long is nobody's. */
const ABANDONED_MS = 30_000;
const STATUSES: readonly Status[] = ['done', 'streaming', 'stopped', 'interrupted', 'failed'];

export function writeTranscript({ id, title, titled, created, messages, removed }: Transcript): string {
  return `${JSON.stringify({ format: FORMAT, id, title, titled, created, messages, removed }, null, 1)}\n`;
}

/** null: this is no conversation. */
export function readTranscript(text: string): Transcript | null {
  const value = object(parseJson(text));
  if (value.format !== FORMAT || !string(value.id)) {
    return null;
  }
  return {
    id: string(value.id),
    title: string(value.title),
    titled: number(value.titled),
    created: number(value.created),
    messages: readMessages(value.messages),
    removed: array(value.removed).map(id => string(id))
  };
}

/** Messages that somebody wrote by hand may lack all but role and content. */
export function readMessages(value: unknown): Message[] {
  return array(value)
    .map(object)
    .filter(message => message.role === 'user' || message.role === 'assistant')
    .map(readMessage);
}

function readMessage(message: Json, index: number): Message {
  const created = number(message.created, index + 1);
  return {
    ...optional(message),
    id: string(message.id, `m${index}`),
    role: message.role === 'user' ? 'user' : 'assistant',
    content: string(message.content),
    status: oneOf(message.status, STATUSES, 'done'),
    created,
    changed: number(message.changed, created)
  };
}

function optional(message: Json): Partial<Message> {
  const texts = ['reasoning', 'model', 'error', 'finish', 'writer'].filter(key => string(message[key]));
  const numbers = ['firstMs', 'thinkingMs', 'decodeMs'].filter(key => typeof message[key] === 'number');
  const attachments = array(message.attachments).map(object).map(readAttachment);
  return {
    ...Object.fromEntries([...texts, ...numbers].map(key => [key, message[key]])),
    ...(message.stats ? { stats: readStats(object(message.stats)) } : {}),
    ...(attachments.length ? { attachments } : {})
  };
}

function readStats(stats: Json): Stats {
  return {
    promptTokens: number(stats.promptTokens),
    completionTokens: number(stats.completionTokens),
    reasoningTokens: number(stats.reasoningTokens)
  };
}

function readAttachment(attachment: Json, index: number): Attachment {
  return {
    id: string(attachment.id, `a${index}`),
    kind: oneOf(attachment.kind, ['image', 'video', 'text'], 'text'),
    name: string(attachment.name, 'attachment'),
    data: string(attachment.data)
  };
}

/** Both versions in one, whichever comes first: nothing that was written is lost, nothing that was removed returns. */
export function mergeTranscripts(ours: Transcript, theirs: Transcript): Transcript {
  const removed = new Set([...ours.removed, ...theirs.removed]);
  const latest = new Map(ours.messages.map(message => [message.id, message]));
  for (const message of theirs.messages) {
    const own = latest.get(message.id);
    if (!own || own.changed < message.changed) {
      latest.set(message.id, message);
    }
  }
  const messages = [...latest.values()].filter(message => !removed.has(message.id));
  const titled = theirs.titled > ours.titled ? theirs : ours;
  return {
    id: ours.id,
    title: titled.title,
    titled: titled.titled,
    created: ours.created,
    messages: messages.sort((one, other) => one.created - other.created || (one.id < other.id ? -1 : 1)),
    removed: [...removed].sort()
  };
}

/** Whether two conversations have a message in common. */
export function hasCommonMessage(ours: readonly Message[], theirs: readonly Message[]): boolean {
  const ids = new Set(ours.map(({ id }) => id));
  return theirs.some(({ id }) => ids.has(id));
}

/** An answer whose writer is this page, which is not writing, or somebody who has fallen silent, was interrupted. */
export function settle(message: Message, page: string, now: number): Message {
  if (message.status !== 'streaming' || (message.writer !== page && now - message.changed < ABANDONED_MS)) {
    return message;
  }
  const { writer: _, ...rest } = message;
  return { ...rest, status: 'interrupted' };
}
