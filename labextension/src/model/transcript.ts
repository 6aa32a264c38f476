/** Encodes and decodes the JSON file of a conversation, and merges two versions of it. */

import { array, Json, number, object, oneOf, parseJson, string } from './json';
import { Attachment, Message, Stats, Status, ToolCall, Transcript } from './types';

const FORMAT = 'pico_jupyter.chat';
/** If an answer has not grown for this long, its writer has probably stopped. */
const ABANDONED_MS = 30_000;
const STATUSES: readonly Status[] = ['done', 'streaming', 'stopped', 'interrupted', 'failed'];

export function writeTranscript({ id, title, titled, created, messages, removed }: Transcript): string {
  return `${JSON.stringify({ format: FORMAT, id, title, titled, created, messages, removed }, null, 1)}\n`;
}

/** Decodes the text of a file. Returns null if it is not a conversation. */
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

/** Decodes messages. They need only a role and content, so that users can write them by hand. */
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
  const calls = array(message.calls).map(object).map(readCall);
  return {
    ...Object.fromEntries([...texts, ...numbers].map(key => [key, message[key]])),
    ...(message.stats ? { stats: readStats(object(message.stats)) } : {}),
    ...(attachments.length ? { attachments } : {}),
    ...(calls.length ? { calls } : {})
  };
}

function readCall(call: Json, index: number): ToolCall {
  const images = array(call.images).map(image => string(image)).filter(image => image.startsWith('data:image/'));
  return {
    id: string(call.id, `call${index}`),
    name: string(call.name),
    arguments: string(call.arguments),
    ...(typeof call.result === 'string' ? { result: call.result } : {}),
    ...(call.failed === true ? { failed: true } : {}),
    ...(images.length ? { images } : {})
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

/** Merges two versions of a conversation. The later version of a message wins, and removed messages stay removed. */
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
  const lastRenamed = theirs.titled > ours.titled ? theirs : ours;
  return {
    id: ours.id,
    title: lastRenamed.title,
    titled: lastRenamed.titled,
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

/** Marks a streaming answer as interrupted if this page was its writer, or if another writer has stopped writing. */
export function interruptAbandoned(message: Message, page: string, now: number): Message {
  if (message.status !== 'streaming' || (message.writer !== page && now - message.changed < ABANDONED_MS)) {
    return message;
  }
  const { writer: _, ...rest } = message;
  return { ...rest, status: 'interrupted' };
}
