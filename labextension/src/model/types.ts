/** The data of the chat: messages, models, requests and deltas. All values are immutable. */

import { ModelHub, SkippedFolder } from './hub';
import { Json } from './json';
import { Memory } from './memory';

export type Reasoning = 'default' | 'on' | 'off';

export const REASONINGS: readonly Reasoning[] = ['default', 'on', 'off'];

/** `interrupted`: the page closed while it received the answer. The message contains the deltas that arrived before. */
export type Status = 'streaming' | 'done' | 'stopped' | 'interrupted' | 'failed';

/** Whether the model only answers, or also works in the notebook. */
export type Mode = 'chat' | 'act';

export const MODES: readonly Mode[] = ['chat', 'act'];

/** The writer of answers that Python code requested. */
export const KERNEL = 'kernel';

export interface Attachment {
  readonly id: string;
  readonly kind: 'image' | 'video' | 'text';
  readonly name: string;
  /** A data URL for images and videos, or the text itself. */
  readonly data: string;
}

/** A file that a model may reject. `other`: no model accepts such files. `large`: the file exceeds the size limit. */
export interface AttachmentCandidate {
  readonly kind: Attachment['kind'] | 'other' | 'large';
  readonly name: string;
  readonly data: string;
}

export interface Stats {
  readonly promptTokens: number;
  /** Includes `reasoningTokens`. */
  readonly completionTokens: number;
  readonly reasoningTokens: number;
}

/** A tool that a model may call, in OpenAI's format. */
export interface ToolDefinition {
  readonly type: 'function';
  readonly function: { readonly name: string; readonly description: string; readonly parameters: Json };
}

/** A call of a tool, and its result once it has one. */
export interface ToolCall {
  readonly id: string;
  readonly name: string;
  /** JSON, as the model wrote it. */
  readonly arguments: string;
  readonly result?: string;
  /** The result is an error. */
  readonly failed?: boolean;
  /** Images of the result, as data URLs. */
  readonly images?: readonly string[];
}

/** Why a turn in Act mode ended before the model had finished: too many steps, or several failed calls in a row. */
export type Finish = 'step_limit' | 'tool_errors';

export interface Message {
  readonly id: string;
  readonly role: 'user' | 'assistant';
  readonly content: string;
  readonly status: Status;
  /** Milliseconds since the epoch. Messages are ordered by `created`. Of two versions, the one with the later `changed` wins. */
  readonly created: number;
  readonly changed: number;
  readonly reasoning?: string;
  readonly attachments?: readonly Attachment[];
  readonly model?: string;
  readonly error?: string;
  /** Why the answer ended, for example 'stop' or 'length', or a Finish. */
  readonly finish?: string;
  /** The tools that the model called. An answer with calls streams until all of them have results. */
  readonly calls?: readonly ToolCall[];
  readonly stats?: Stats;
  /** Durations in milliseconds: until the first delta, of the reasoning, and from the first delta to the last. */
  readonly firstMs?: number;
  readonly thinkingMs?: number;
  readonly decodeMs?: number;
  /** While the answer streams: the page that receives it, or KERNEL. */
  readonly writer?: string;
}

export interface Transcript {
  readonly id: string;
  /** `titled` is the time of the last rename. Of two versions, the later title wins. */
  readonly title: string;
  readonly titled: number;
  readonly created: number;
  readonly messages: readonly Message[];
  /** Ids of removed messages, so that a merge does not restore them. */
  readonly removed: readonly string[];
}

export interface Model {
  /** The name for requests. */
  readonly name: string;
  readonly size: number;
  readonly quantization: string;
  readonly parameters: string;
  readonly capabilities: readonly string[];
  /** The context length in tokens; 0 if unknown. */
  readonly context: number;
  /** 'hub' if it was downloaded, so that it can be deleted; '' if unknown. */
  readonly source: 'builtin' | 'folder' | 'hub' | '';
  /** Bytes in memory; null if the model is not loaded. */
  readonly resident: number | null;
}

export interface ChatRequest {
  readonly model: string;
  readonly messages: readonly Message[];
  readonly reasoning: Reasoning;
  readonly system: string;
  readonly temperature: number | null;
  /** Whether the model continues the last message, which is an answer. */
  readonly continues: boolean;
  /** The tools that the model may call. */
  readonly tools?: readonly ToolDefinition[];
  /** Whether the model must call one of them. A grammar enforces it, also in small models. */
  readonly mustCall?: boolean;
}

/** A turn of a conversation in Act mode, which has several answers. */
export interface Turn {
  /** The id of the conversation. */
  readonly conversation: string;
  /** Aborted when the user stops the turn. */
  readonly signal: AbortSignal;
  /** Request the next answer. Resolves when it has ended, rejects if it fails or is stopped. */
  ask(request: Pick<ChatRequest, 'tools' | 'mustCall' | 'system'>): Promise<Message>;
  setResult(message: string, call: string, result: { readonly text: string; readonly images?: readonly string[]; readonly failed?: boolean }): void;
  /** End the turn. The last answer keeps the reason. null: the model has finished. */
  end(reason: Finish | null): void;
}

/** Runs a turn in Act mode. */
export type Act = (turn: Turn) => Promise<void>;

/** One part of an answer, in order of arrival. */
export type Delta =
  | { readonly kind: 'progress'; readonly done: number; readonly total: number }
  | { readonly kind: 'reasoning'; readonly text: string }
  | { readonly kind: 'text'; readonly text: string }
  /** A part of a tool call. Parts with the same index belong together. */
  | { readonly kind: 'call'; readonly index: number; readonly id: string; readonly name: string; readonly arguments: string }
  | { readonly kind: 'finish'; readonly reason: string }
  | { readonly kind: 'usage'; readonly stats: Stats };

/** Runs models: a Jupyter server over HTTP, or the notebook's kernel. */
export interface Backend {
  /** Streams one answer. Aborting `signal` stops the model. */
  chat(request: ChatRequest, signal: AbortSignal): AsyncGenerator<Delta, void>;
  models(): Promise<Model[]>;
  memory(): Promise<Memory>;
  load(name: string): Promise<void>;
  unload(name: string): Promise<void>;
  /** The folders with files of a model that are not listed. */
  skipped(): Promise<SkippedFolder[]>;
  /** null if this backend cannot download models. */
  hub(): Promise<ModelHub | null>;
}

/** Clock, timers and ids. Tests provide their own. */
export interface Environment {
  /** Milliseconds since the epoch. */
  now(): number;
  newId(): string;
  /** Calls `run` after `ms` milliseconds. Returns a function that cancels the call. */
  after(ms: number, run: () => void): () => void;
  /** The id of this page. It survives a reload. */
  readonly page: string;
}
