/** Keeps one conversation in its file: written as it grows, merged with what other pages write. Knows no place. */

import { Conversation, ConversationState } from './conversation';
import { ConversationFolder, UnsavedStore, PageChannel } from './storage';
import { Observable } from './observable';
import { mergeTranscripts, readTranscript, writeTranscript } from './transcript';
import { Environment, Transcript } from './types';

const SAVE_MS = 1000;
const CHECK_WRITERS_MS = 10_000;

export interface ConversationStorage {
  readonly drive: ConversationFolder;
  readonly unsaved: UnsavedStore;
  readonly pages: PageChannel;
  readonly environment: Environment;
}

/** How a conversation stands with its file when its autosave begins. */
export interface SavedState {
  /** null: there is no file yet. */
  readonly stamp: string | null;
  readonly isWritten: boolean;
}

export class Autosave {
  constructor(
    readonly conversation: Conversation,
    readonly name: string,
    private readonly _place: ConversationStorage,
    start: SavedState
  ) {
    this._stamp = start.stamp;
    this._written = start.isWritten ? conversation.state.get() : null;
    this._disposers = [
      conversation.state.subscribe(() => this._onChange()),
      _place.pages.listen(changed => void (changed === name && this._enqueue(() => this._mergeFile())))
    ];
    conversation.settle();
    this._onChange();
    this._checkWriters();
  }

  /** Why the latest attempt to save failed; null: it did not. */
  readonly problem = new Observable<string | null>(null);

  /** Resolves when all that is here now is on disk, or could not be written. */
  async flush(): Promise<void> {
    this._cancelSave?.();
    this._cancelSave = undefined;
    await this._enqueue(() => this._save());
  }

  /** The page goes away: what is not on disk waits in the unsaved for the next page. */
  stashUnsaved(): void {
    if (this._isDirty) {
      this._place.unsaved.set(this.name, writeTranscript(this.conversation.state.get()));
    }
  }

  /** Nothing more is written once this has resolved. */
  async dispose(): Promise<void> {
    this._isDisposed = true;
    this._cancelSave?.();
    this._cancelCheck?.();
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
      await this._mergeFile();
      const state = this.conversation.state.get();
      this._stamp = await this._place.drive.write(this.name, writeTranscript(state));
      this._written = state;
      this._place.unsaved.clear(this.name);
      this._place.pages.tell(this.name);
      this.problem.set(null);
    } catch (error) {
      this.problem.set(error instanceof Error ? error.message : String(error));
    }
    this._onChange();
  }

  /** Take in what is on disk, if somebody else wrote it. */
  private async _mergeFile(): Promise<void> {
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
    this._checkWriters();
  }

  /** While another page writes an answer here, see from time to time whether it still does. */
  private _checkWriters(): void {
    const { messages, busy } = this.conversation.state.get();
    if (!this._isDisposed && !busy && !this._cancelCheck && messages.some(message => message.status === 'streaming')) {
      this._cancelCheck = this._place.environment.after(CHECK_WRITERS_MS, () => {
        this._cancelCheck = undefined;
        this.conversation.settle();
        this._checkWriters();
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
  private _cancelCheck: (() => void) | undefined;
  private _isDisposed = false;
  private _queue: Promise<void> = Promise.resolve();
}

/** The transcript in the file, together with what a page left in the unsaved when it went away. */
export async function loadTranscript(name: string, place: ConversationStorage): Promise<(SavedState & { transcript: Transcript }) | null> {
  const stamp = await place.drive.stamp(name);
  const kept = stamp === null ? null : readTranscript((await place.drive.read(name)) ?? '');
  const rescued = readTranscript(place.unsaved.get(name) ?? '');
  const transcript = kept && rescued ? mergeTranscripts(rescued, kept) : (kept ?? rescued);
  return transcript && { transcript, stamp, isWritten: rescued === null };
}

function isSame(one: Transcript | null, other: Transcript): boolean {
  return one !== null && one.messages === other.messages && one.title === other.title && one.removed === other.removed;
}
