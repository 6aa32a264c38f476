/** One conversation: its messages, and the answer that it is receiving. */

import { applyDelta, startTiming, updateTiming } from './applyDelta';
import { shorten } from './names';
import { Observable } from './observable';
import { interruptAbandoned, mergeTranscripts } from './transcript';
import { Attachment, Backend, ChatRequest, Environment, Message, Transcript } from './types';

/** The shown text changes at most thirty times a second. */
const UPDATE_MS = 33;
const TITLE_LENGTH = 60;

export type Settings = Pick<ChatRequest, 'model' | 'reasoning' | 'system' | 'temperature'>;

export interface ConversationState extends Transcript {
  readonly busy: boolean;
  /** Progress of a load or of prefill, from 0 to 1. */
  readonly progress: number | null;
}

export interface ConversationOptions {
  readonly backend: Pick<Backend, 'chat'>;
  readonly environment: Environment;
  /** Called once for each answer. May wait until the models are known. */
  readonly settings: () => Promise<Settings>;
  readonly transcript?: Transcript;
}

export class Conversation {
  constructor(private readonly _options: ConversationOptions) {
    const { environment, transcript } = _options;
    const created = environment.now();
    this.state = new Observable<ConversationState>({
      ...(transcript ?? { id: environment.newId(), title: '', titled: 0, created, messages: [], removed: [] }),
      busy: false,
      progress: null
    });
  }

  readonly state: Observable<ConversationState>;

  /** Send a message once no other answer is running. Resolves when the answer to the message has ended. */
  async send(content: string, attachments: readonly Attachment[] = []): Promise<void> {
    if (this._running) {
      await this._running;
    }
    const question = this._newMessage('user', { content, ...(attachments.length ? { attachments } : {}) });
    const { messages, title } = this.state.get();
    this._setMessages([...messages, question]);
    if (!title) {
      this.rename(titleOf(question));
    }
    await this._answer();
  }

  /** Remove the message and all after it, and request another answer. */
  async regenerate(id: string): Promise<void> {
    const before = this._before(id);
    if (before?.length) {
      this._setMessages(before);
      await this._answer();
    }
  }

  /** Change a question, remove all messages after it, and request another answer. */
  async edit(id: string, content: string): Promise<void> {
    const before = this._before(id);
    const message = this.state.get().messages.find(candidate => candidate.id === id);
    if (before && message) {
      this._setMessages([...before, { ...message, content, changed: this._options.environment.now() }]);
      await this._answer();
    }
  }

  /** Request more text for the answer, which must be the last message. */
  async continue(id: string): Promise<void> {
    const last = this.state.get().messages.at(-1);
    if (!this.state.get().busy && last?.id === id && last.role === 'assistant') {
      await this._answer(last);
    }
  }

  remove(id: string): void {
    if (!this.state.get().busy) {
      this._setMessages(this.state.get().messages.filter(message => message.id !== id));
    }
  }

  rename(title: string): void {
    this.state.patch({ title, titled: this._options.environment.now() });
  }

  /** Merge another page's version of this conversation. */
  merge(theirs: Transcript): void {
    this.state.patch(mergeTranscripts(this.state.get(), theirs));
  }

  /** Mark streaming answers without a writer as interrupted. */
  interruptAbandoned(): void {
    const { busy, messages } = this.state.get();
    const { environment } = this._options;
    const checked = busy ? messages : messages.map(message => interruptAbandoned(message, environment.page, environment.now()));
    if (checked.some((message, index) => message !== messages[index])) {
      this.state.patch({ messages: checked });
    }
  }

  /** Replace all messages. */
  replace(messages: readonly Message[]): void {
    if (!this.state.get().busy) {
      this._setMessages(messages);
    }
  }

  /** Stop the running answer. This closes its stream, and so stops the model. */
  stop(): void {
    this._abort?.abort();
  }

  /** The messages before a message. Null while an answer is running, or if there is no such message. */
  private _before(id: string): readonly Message[] | null {
    const { busy, messages } = this.state.get();
    const index = messages.findIndex(message => message.id === id);
    return busy || index < 0 ? null : messages.slice(0, index);
  }

  private _newMessage(role: Message['role'], rest: Partial<Message>): Message {
    const { environment } = this._options;
    const created = Math.max(environment.now(), (this.state.get().messages.at(-1)?.created ?? 0) + 1);
    return { id: environment.newId(), role, content: '', status: 'done', created, changed: created, ...rest };
  }

  private _setMessages(messages: readonly Message[]): void {
    const kept = new Set(messages.map(message => message.id));
    const { messages: present, removed } = this.state.get();
    const removedIds = present.filter(message => !kept.has(message.id)).map(message => message.id);
    this.state.patch({ messages, removed: removedIds.length ? [...removed, ...removedIds] : removed });
  }

  private _answer(unfinished?: Message): Promise<void> {
    this._running = this._receive(unfinished).finally(() => (this._running = undefined));
    return this._running;
  }

  private async _receive(unfinished?: Message): Promise<void> {
    const { environment, backend } = this._options;
    const abort = (this._abort = new AbortController());
    const past = this.state.get().messages.filter(message => message !== unfinished);
    const sent = environment.now();
    let answer = this._startAnswer(unfinished);
    const publish = (changes: Partial<ConversationState> = {}): void => {
      const { messages } = this.state.get();
      this.state.patch({ messages: messages.map(message => (message.id === answer.id ? answer : message)), ...changes });
    };
    const updates = new Throttle(environment, publish);
    this.state.patch({ messages: [...past, answer], busy: true, progress: null });
    try {
      const settings = await untilAborted(this._options.settings(), abort.signal);
      const continues = answer.content !== '';
      const messages = continues ? [...past, answer] : past;
      answer = { ...answer, model: settings.model };
      publish();
      let timing = startTiming(sent);
      for await (const delta of backend.chat({ ...settings, messages, continues }, abort.signal)) {
        const now = environment.now();
        timing = updateTiming(timing, delta, now);
        answer = { ...applyDelta(answer, delta, timing, now), changed: now };
        if (delta.kind === 'progress') {
          publish({ progress: delta.done / delta.total });
        } else {
          updates.request();
        }
      }
      answer = { ...answer, status: 'done' };
    } catch (error) {
      answer = { ...answer, status: 'failed', error: error instanceof Error ? error.message : String(error) };
    } finally {
      updates.cancel();
      const { writer: _, ...rest } = answer;
      answer = { ...rest, changed: environment.now() };
      if (abort.signal.aborted) {
        answer = { ...answer, status: 'stopped', error: undefined };
      }
      publish({ busy: false, progress: null });
    }
  }

  /** The answer before its first delta. It is empty, or has the text of the unfinished answer that it continues. */
  private _startAnswer(unfinished: Message | undefined): Message {
    const { environment } = this._options;
    const fresh = { status: 'streaming', writer: environment.page, changed: environment.now() } as const;
    if (!unfinished?.content) {
      const { id, created } = unfinished ?? {};
      return this._newMessage('assistant', { ...fresh, ...(id ? { id, created } : {}) });
    }
    return { ...unfinished, ...fresh, error: undefined, finish: undefined };
  }

  private _abort: AbortController | undefined;
  private _running: Promise<void> | undefined;
}

/** Resolves with `work`, or rejects when the signal aborts first. */
function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
  });
  return Promise.race([work, aborted]);
}

/** Limits how often `run` is called. The first request calls it at once. Requests that follow too soon share one later call. */
class Throttle {
  constructor(
    private readonly _environment: Environment,
    private readonly _run: () => void
  ) {}

  request(): void {
    if (this._cancel) {
      this._isWanted = true;
      return;
    }
    this._run();
    this._isWanted = false;
    this._cancel = this._environment.after(UPDATE_MS, () => {
      this._cancel = undefined;
      if (this._isWanted) {
        this.request();
      }
    });
  }

  cancel(): void {
    this._cancel?.();
    this._cancel = undefined;
  }

  private _cancel: (() => void) | undefined;
  private _isWanted = false;
}

export function titleOf(question: Message): string {
  const text = question.content.trim() || question.attachments?.[0]?.name || '';
  const line = text.split(/[\r\n]/, 1)[0].trim();
  return shorten(line, TITLE_LENGTH);
}
