/** Keeps one conversation in its file: written as it grows, merged with what other pages write. Knows no place. */

import { Conversation, ConversationState } from './conversation';
import { Drive, Lifeboat, Neighbours } from './drive';
import { Observable } from './observable';
import { mergeTranscripts, readTranscript, writeTranscript } from './transcript';
import { Environment, Transcript } from './types';

const SAVE_MS = 1000;
const SETTLE_MS = 10_000;

export interface Place {
  readonly drive: Drive;
  readonly lifeboat: Lifeboat;
  readonly neighbours: Neighbours;
  readonly environment: Environment;
}

/** How a conversation stands with its file when its keeper begins. */
export interface Start {
  /** null: there is no file yet. */
  readonly stamp: string | null;
  readonly isWritten: boolean;
}

export class Keeper {
  constructor(
    readonly conversation: Conversation,
    readonly name: string,
    private readonly _place: Place,
    start: Start
  ) {
    this._stamp = start.stamp;
    this._written = start.isWritten ? conversation.state.get() : null;
    this._disposers = [
      conversation.state.subscribe(() => this._onChange()),
      _place.neighbours.listen(changed => void (changed === name && this._enqueue(() => this._takeIn())))
    ];
    conversation.settle();
    this._onChange();
    this._watchWriters();
  }

  /** Why the latest attempt to save failed; null: it did not. */
  readonly problem = new Observable<string | null>(null);

  /** Resolves when all that is here now is on disk, or could not be written. */
  async flush(): Promise<void> {
    this._cancelSave?.();
    this._cancelSave = undefined;
    await this._enqueue(() => this._save());
  }

  /** The page goes away: what is not on disk waits in the lifeboat for the next page. */
  abandon(): void {
    if (this._isDirty) {
      this._place.lifeboat.set(this.name, writeTranscript(this.conversation.state.get()));
    }
  }

  /** Nothing more is written once this has resolved. */
  async dispose(): Promise<void> {
    this._isDisposed = true;
    this._cancelSave?.();
    this._cancelSettle?.();
    this._disposers.forEach(dispose => dispose());
    await this._queue;
  }

  private get _isDirty(): boolean {
    return !isSame(this._written, this.conversation.state.get());
  }

  private _onChange(): void {
    if (this._isDisposed || !this._isDirty || this._cancelSave) {
      return;
    }
    this._cancelSave = this._place.environment.after(SAVE_MS, () => {
      this._cancelSave = undefined;
      void this._enqueue(() => this._save());
    });
  }

  private async _save(): Promise<void> {
    if (!this._isDirty) {
      return;
    }
    try {
      await this._takeIn();
      const state = this.conversation.state.get();
      this._stamp = await this._place.drive.write(this.name, writeTranscript(state));
      this._written = state;
      this._place.lifeboat.clear(this.name);
      this._place.neighbours.tell(this.name);
      this.problem.set(null);
    } catch (error) {
      this.problem.set(error instanceof Error ? error.message : String(error));
    }
    this._onChange();
  }

  /** Take in what is on disk, if somebody else wrote it. */
  private async _takeIn(): Promise<void> {
    const stamp = await this._place.drive.stamp(this.name);
    if (stamp === null || stamp === this._stamp) {
      return;
    }
    const theirs = readTranscript((await this._place.drive.read(this.name)) ?? '');
    if (theirs) {
      const wasDirty = this._isDirty;
      this.conversation.merge(theirs);
      this._written = wasDirty ? this._written : this.conversation.state.get();
      this.conversation.settle();
    }
    this._stamp = stamp;
    this._watchWriters();
  }

  /** While another page writes an answer here, see from time to time whether it still does. */
  private _watchWriters(): void {
    const { messages, busy } = this.conversation.state.get();
    if (!this._isDisposed && !busy && !this._cancelSettle && messages.some(message => message.status === 'streaming')) {
      this._cancelSettle = this._place.environment.after(SETTLE_MS, () => {
        this._cancelSettle = undefined;
        this.conversation.settle();
        this._watchWriters();
      });
    }
  }

  /** One thing at a time. */
  private _enqueue(work: () => Promise<void>): Promise<void> {
    this._queue = this._queue.then(work).catch(() => undefined);
    return this._queue;
  }

  private readonly _disposers: (() => void)[];
  private _stamp: string | null;
  private _written: ConversationState | null;
  private _cancelSave: (() => void) | undefined;
  private _cancelSettle: (() => void) | undefined;
  private _isDisposed = false;
  private _queue: Promise<void> = Promise.resolve();
}

/** The transcript in the file, together with what a page left in the lifeboat when it went away. */
export async function openTranscript(name: string, place: Place): Promise<(Start & { transcript: Transcript }) | null> {
  const stamp = await place.drive.stamp(name);
  const kept = stamp === null ? null : readTranscript((await place.drive.read(name)) ?? '');
  const rescued = readTranscript(place.lifeboat.get(name) ?? '');
  const transcript = kept && rescued ? mergeTranscripts(rescued, kept) : (kept ?? rescued);
  return transcript && { transcript, stamp, isWritten: rescued === null };
}

function isSame(one: Transcript | null, other: Transcript): boolean {
  return one !== null && one.messages === other.messages && one.title === other.title && one.removed === other.removed;
}
