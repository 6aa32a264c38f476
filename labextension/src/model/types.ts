/** The values of the chat: what is kept on disk, shown, and sent. They are immutable; changes make new ones. */

import { Memory } from './memory';

export type Reasoning = 'default' | 'on' | 'off';

export const REASONINGS: readonly Reasoning[] = ['default', 'on', 'off'];

/** `interrupted`: whoever received the answer is gone, and what came until then is here. */
export type Status = 'streaming' | 'done' | 'stopped' | 'interrupted' | 'failed';

/** The writer of hasPicoEndpoints that Python code asked for. */
export const KERNEL = 'kernel';

export interface Attachment {
  readonly id: string;
  readonly kind: 'image' | 'video' | 'text';
  readonly name: string;
  /** A data URL (image, video), or the text itself. */
  readonly data: string;
}

/** What somebody wants to attach. `other` is nothing that models take, `large` is too much of anything. */
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

export interface Message {
  readonly id: string;
  readonly role: 'user' | 'assistant';
  readonly content: string;
  readonly status: Status;
  /** Milliseconds since the epoch. Messages are in the order of `created`; of two versions the later `changed` counts. */
  readonly created: number;
  readonly changed: number;
  readonly reasoning?: string;
  readonly attachments?: readonly Attachment[];
  readonly model?: string;
  readonly error?: string;
  /** Why the answer ended: 'length' is worth telling. */
  readonly finish?: string;
  readonly stats?: Stats;
  /** Milliseconds from the request to the first text, of thinking, and from the first text to the last. */
  readonly firstMs?: number;
  readonly thinkingMs?: number;
  readonly decodeMs?: number;
  /** The page that receives this answer, while it streams, or KERNEL. */
  readonly writer?: string;
}

export interface Transcript {
  readonly id: string;
  /** With the time at which it was given, so that of two versions the later counts. */
  readonly title: string;
  readonly titled: number;
  readonly created: number;
  readonly messages: readonly Message[];
  /** Ids of messages that were here and shall not come back. */
  readonly removed: readonly string[];
}

export interface Model {
  /** As requests spell it. */
  readonly name: string;
  readonly size: number;
  readonly quantization: string;
  readonly parameters: string;
  readonly capabilities: readonly string[];
  /** Tokens, 0 where unknown. */
  readonly context: number;
  /** Bytes in memory while it is loaded, else null. */
  readonly resident: number | null;
}

export interface ChatRequest {
  readonly model: string;
  readonly messages: readonly Message[];
  readonly reasoning: Reasoning;
  readonly system: string;
  readonly temperature: number | null;
  /** The last message is an answer, and the model writes on where it ends. */
  readonly continues: boolean;
}

/** What an answer is made of, in the order in which it arrives. */
export type Delta =
  | { readonly kind: 'progress'; readonly done: number; readonly total: number }
  | { readonly kind: 'reasoning'; readonly text: string }
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'finish'; readonly reason: string }
  | { readonly kind: 'usage'; readonly stats: Stats };

/** Where models run: a Jupyter server over HTTP, or the notebook's kernel. */
export interface Backend {
  /** Streams one answer. Aborting `signal` stops the model. */
  chat(request: ChatRequest, signal: AbortSignal): AsyncGenerator<Delta, void>;
  models(): Promise<Model[]>;
  memory(): Promise<Memory>;
  load(name: string): Promise<void>;
  unload(name: string): Promise<void>;
}

/** Time and identity, which tests decide. */
export interface Environment {
  /** Milliseconds since the epoch. */
  now(): number;
  newId(): string;
  /** Runs `run` after `ms`; the result cancels. */
  after(ms: number, run: () => void): () => void;
  /** Names this page, and the same after a reload. */
  readonly page: string;
}
