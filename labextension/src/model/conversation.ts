/** One conversation: its messages, and the answer that it is receiving. */

import { ConversationState, ConversationTurn, newMessage, TurnOptions } from './conversationTurn';
import { shorten } from './names';
import { Observable } from './observable';
import { interruptAbandoned, mergeTranscripts } from './transcript';
import { Act, Attachment, Message, Transcript } from './types';

export type { ConversationState, Settings } from './conversationTurn';

const TITLE_LENGTH = 60;

export interface ConversationOptions extends TurnOptions {
  /** Called once for each turn. Without a function, or if it returns null, a turn is one answer without tools. */
  readonly act?: () => Act | null;
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

  /** Send a message once no other answer is running. Resolves when the turn has ended. `act` runs the turn, instead of
   * that of the options. */
  async send(content: string, attachments: readonly Attachment[] = [], act?: Act): Promise<void> {
    if (this._running) {
      await this._running;
    }
    const question = newMessage(this.state.get(), this._options.environment, 'user', { content, ...(attachments.length ? { attachments } : {}) });
    const { messages, title } = this.state.get();
    this._setMessages([...messages, question]);
    if (!title) {
      this.rename(titleOf(question));
    }
    await this._answer(undefined, act);
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

  /** Request more text for the answer, which must be the last message. If it has tool calls, another answer follows it. */
  async continue(id: string): Promise<void> {
    const last = this.state.get().messages.at(-1);
    if (!this.state.get().busy && last?.id === id && last.role === 'assistant') {
      await this._answer(last.calls ? undefined : last);
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

  private _setMessages(messages: readonly Message[]): void {
    const kept = new Set(messages.map(message => message.id));
    const { messages: present, removed } = this.state.get();
    const removedIds = present.filter(message => !kept.has(message.id)).map(message => message.id);
    this.state.patch({ messages, removed: removedIds.length ? [...removed, ...removedIds] : removed });
  }

  private _answer(unfinished?: Message, act = this._options.act?.() ?? null): Promise<void> {
    this._running = this._takeTurn(unfinished, act).finally(() => (this._running = undefined));
    return this._running;
  }

  private async _takeTurn(unfinished: Message | undefined, act: Act | null): Promise<void> {
    const abort = (this._abort = new AbortController());
    const turn = new ConversationTurn(this.state, this._options, abort.signal, unfinished);
    this.state.patch({ busy: true, progress: null });
    try {
      await (act ? act(turn) : turn.ask({}));
    } catch (error) {
      turn.fail(error);
    } finally {
      turn.end(null);
      this.state.patch({ busy: false, progress: null });
    }
  }

  private _abort: AbortController | undefined;
  private _running: Promise<void> | undefined;
}

export function titleOf(question: Message): string {
  const text = question.content.trim() || question.attachments?.[0]?.name || '';
  const line = text.split(/[\r\n]/, 1)[0].trim();
  return shorten(line, TITLE_LENGTH);
}
