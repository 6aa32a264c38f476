/** A turn of a conversation: one answer, or in Act mode several answers with tool calls. */

import { applyDelta, startTiming, Timing, updateTiming } from './applyDelta';
import { Observable } from './observable';
import { Backend, ChatRequest, Environment, Finish, Message, Transcript, Turn } from './types';
import { untilAborted } from './untilAborted';
import { reasonOf } from './wire';

/** The shown text changes at most thirty times a second. */
const UPDATE_MS = 33;

export type Settings = Pick<ChatRequest, 'model' | 'reasoning' | 'system' | 'temperature'>;

export interface ConversationState extends Transcript {
  readonly busy: boolean;
  /** Progress of a load or of prefill, from 0 to 1. */
  readonly progress: number | null;
}

export interface TurnOptions {
  readonly backend: Pick<Backend, 'chat'>;
  readonly environment: Environment;
  /** Called once for each answer. May wait until the models are known. */
  readonly settings: () => Promise<Settings>;
}

export class ConversationTurn implements Turn {
  /** `unfinished` is the answer that the first answer continues. */
  constructor(
    private readonly _state: Observable<ConversationState>,
    private readonly _options: TurnOptions,
    readonly signal: AbortSignal,
    private _unfinished?: Message
  ) {}

  get conversation(): string {
    return this._state.get().id;
  }

  async ask(request: Partial<Pick<ChatRequest, 'tools' | 'mustCall' | 'system'>>): Promise<Message> {
    const { environment } = this._options;
    const unfinished = this._unfinished;
    this._unfinished = undefined;
    const past = this._state.get().messages.filter(message => message !== unfinished);
    let answer = this._startAnswer(unfinished);
    this._last = answer.id;
    this._state.patch({ messages: [...past, answer], progress: null });
    const updates = new Throttle(environment, () => this._publish(answer));
    let problem: unknown;
    const timing = startTiming(environment.now());
    try {
      const settings = await untilAborted(this._options.settings(), this.signal);
      const system = [request.system, settings.system].filter(Boolean).join('\n\n');
      answer = { ...answer, model: settings.model };
      this._publish(answer);
      for await (const next of this._stream(answer, { ...settings, ...request, system, messages: past, continues: answer.content !== '' }, timing)) {
        answer = next;
        updates.request();
      }
      this.signal.throwIfAborted();
      answer = answer.calls ? answer : { ...answer, status: 'done' };
    } catch (error) {
      problem = error;
      answer = this.signal.aborted ? { ...answer, status: 'stopped' } : { ...answer, status: 'failed', error: reasonOf(error) };
    }
    updates.cancel();
    answer = this._stamped(answer);
    this._publish(answer);
    if (problem) {
      throw problem;
    }
    return answer;
  }

  setResult(id: string, callId: string, result: Parameters<Turn['setResult']>[2]): void {
    const message = this._state.get().messages.find(candidate => candidate.id === id);
    if (message?.calls) {
      const { text, ...rest } = result;
      const calls = message.calls.map(call => (call.id === callId ? { ...call, result: text, ...rest } : call));
      const isFinished = calls.every(call => call.result !== undefined);
      this._publish(this._stamped({ ...message, calls, ...(isFinished && { status: this.signal.aborted ? 'stopped' : 'done' }) }));
    }
  }

  end(reason: Finish | null): void {
    const message = this._state.get().messages.find(({ id }) => id === this._last);
    if (message && (reason || message.status === 'streaming')) {
      const status = message.status === 'streaming' ? 'stopped' : message.status;
      this._publish(this._stamped({ ...message, status, ...(reason && { finish: reason }) }));
    }
  }

  /** The turn failed. An error before the first answer becomes an answer. Later ones are part of their answers already. */
  fail(error: unknown): void {
    if (!this._last) {
      const outcome = this.signal.aborted ? { status: 'stopped' } as const : { status: 'failed', error: reasonOf(error) } as const;
      const answer = newMessage(this._state.get(), this._options.environment, 'assistant', outcome);
      this._last = answer.id;
      this._state.patch({ messages: [...this._state.get().messages, answer] });
    }
  }

  /** Yields the answer after each delta. */
  private async *_stream(answer: Message, request: ChatRequest, timing: Timing): AsyncGenerator<Message> {
    const { backend, environment } = this._options;
    const messages = request.continues ? [...request.messages, answer] : request.messages;
    for await (const delta of backend.chat({ ...request, messages }, this.signal)) {
      const now = environment.now();
      timing = updateTiming(timing, delta, now);
      answer = { ...applyDelta(answer, delta, timing, now), changed: now };
      if (delta.kind === 'progress') {
        this._state.patch({ progress: delta.done / delta.total });
      } else {
        yield answer;
      }
    }
  }

  /** The answer before its first delta. It is empty, or has the text of the unfinished answer that it continues. */
  private _startAnswer(unfinished: Message | undefined): Message {
    const { environment } = this._options;
    const fresh = { status: 'streaming', writer: environment.page, changed: environment.now() } as const;
    if (!unfinished?.content) {
      const { id, created } = unfinished ?? {};
      return newMessage(this._state.get(), environment, 'assistant', { ...fresh, ...(id ? { id, created } : {}) });
    }
    return { ...unfinished, ...fresh, error: undefined, finish: undefined };
  }

  private _stamped(message: Message): Message {
    const { writer, ...rest } = message;
    return { ...rest, changed: this._options.environment.now(), ...(message.status === 'streaming' && { writer }) };
  }

  private _publish(answer: Message): void {
    const { messages } = this._state.get();
    this._state.patch({ messages: messages.map(message => (message.id === answer.id ? answer : message)) });
  }

  private _last = '';
}

/** A message that is later than all messages of the conversation. */
export function newMessage(state: Transcript, environment: Environment, role: Message['role'], rest: Partial<Message>): Message {
  const created = Math.max(environment.now(), (state.messages.at(-1)?.created ?? 0) + 1);
  return { id: environment.newId(), role, content: '', status: 'done', created, changed: created, ...rest };
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
