/** One conversation: its messages, and the answer that is being received. Knows no disk and no page. */

import { updateTiming, startTiming, fold } from './applyDelta';
import { Observable } from './observable';
import { mergeTranscripts, settle } from './transcript';
import { Attachment, Backend, ChatRequest, Environment, Message, Transcript } from './types';

/** The text on the screen changes thirty times a second at most. */
const UPDATE_MS = 33;
const TITLE_LENGTH = 60;

export type Settings = Pick<ChatRequest, 'model' | 'reasoning' | 'system' | 'temperature'>;

export interface ConversationState extends Transcript {
  readonly busy: boolean;
  /** Of a load, or of reading the prompt, from 0 to 1. */
  readonly progress: number | null;
}

export interface ConversationOptions {
  readonly backend: Pick<Backend, 'chat'>;
  readonly environment: Environment;
  /** Asked once for every answer; may wait until the models are known. */
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

  /** Ask, once a running answer has ended. Resolves when this answer has. */
  async send(content: string, attachments: readonly Attachment[] = []): Promise<void> {
    if (this._running) {
      await this._running;
    }
    const question = this._newMessage('user', { content, ...(attachments.length ? { attachments } : {}) });
    const { messages, title } = this.state.get();
    this._put([...messages, question]);
    if (!title) {
      this.rename(titleOf(question));
    }
    await this._answer();
  }

  /** Drop the message and all after it, and have the rest answered again. */
  async regenerate(id: string): Promise<void> {
    const before = this._before(id);
    if (before?.length) {
      this._put(before);
      await this._answer();
    }
  }

  /** Say it in other words: what came after is dropped and answered again. */
  async edit(id: string, content: string): Promise<void> {
    const before = this._before(id);
    const message = this.state.get().messages.find(candidate => candidate.id === id);
    if (before && message) {
      this._put([...before, { ...message, content, changed: this._options.environment.now() }]);
      await this._answer();
    }
  }

  /** Have the model write on where the answer, which must be the last message, ends. */
  async continue(id: string): Promise<void> {
    const last = this.state.get().messages.at(-1);
    if (!this.state.get().busy && last?.id === id && last.role === 'assistant') {
      await this._answer(last);
    }
  }

  remove(id: string): void {
    if (!this.state.get().busy) {
      this._put(this.state.get().messages.filter(message => message.id !== id));
    }
  }

  rename(title: string): void {
    this.state.patch({ title, titled: this._options.environment.now() });
  }

  /** Take in what another page has made of this conversation. */
  merge(theirs: Transcript): void {
    this.state.patch(mergeTranscripts(this.state.get(), theirs));
  }

  /** Give up hasPicoEndpoints whose writer is gone. */
  settle(): void {
    const { busy, messages } = this.state.get();
    const { environment } = this._options;
    const settled = busy ? messages : messages.map(message => settle(message, environment.page, environment.now()));
    if (settled.some((message, index) => message !== messages[index])) {
      this.state.patch({ messages: settled });
    }
  }

  /** Have exactly these messages from now on. */
  replace(messages: readonly Message[]): void {
    if (!this.state.get().busy) {
      this._put(messages);
    }
  }

  /** Closing the stream is what stops the model. */
  stop(): void {
    this._abort?.abort();
  }

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

  private _put(messages: readonly Message[]): void {
    const kept = new Set(messages.map(message => message.id));
    const { messages: present, removed } = this.state.get();
    const dropped = present.filter(message => !kept.has(message.id)).map(message => message.id);
    this.state.patch({ messages, removed: dropped.length ? [...removed, ...dropped] : removed });
  }

  private _answer(unfinished?: Message): Promise<void> {
    this._running = this._receive(unfinished).finally(() => (this._running = undefined));
    return this._running;
  }

  private async _receive(unfinished?: Message): Promise<void> {
    const { environment, backend } = this._options;
    const abort = (this._abort = new AbortController());
    const past = this.state.get().messages.filter(message => message !== unfinished);
    const asked = environment.now();
    let answer = this._begin(unfinished);
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
      let timing = startTiming(asked);
      for await (const piece of backend.chat({ ...settings, messages, continues }, abort.signal)) {
        const now = environment.now();
        timing = updateTiming(timing, piece, now);
        answer = { ...fold(answer, piece, timing, now), changed: now };
        if (piece.kind === 'progress') {
          publish({ progress: piece.done / piece.total });
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

  /** The answer as it is before anything was received; text that is to be continued stays. */
  private _begin(unfinished: Message | undefined): Message {
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

/** What `work` gives, or the abort if that comes first. */
function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
  });
  return Promise.race([work, aborted]);
}

/** The first request is served at once, and those that come too soon after are served together. */
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
  const line = text.split('\n', 1)[0].trim();
  return line.length > TITLE_LENGTH ? `${line.slice(0, TITLE_LENGTH - 1).trimEnd()}…` : line;
}
