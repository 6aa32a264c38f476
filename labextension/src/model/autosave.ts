/** Saves one conversation to its file while it changes, and merges changes that other pages write to the file. */

import { Conversation, ConversationState } from './conversation';
import { ConversationFolder, PageChannel, UnsavedStore } from './storage';
import { Observable } from './observable';
import { mergeTranscripts, readTranscript, writeTranscript } from './transcript';
import { Environment, Transcript } from './types';

const SAVE_MS = 1000;
const CHECK_WRITERS_MS = 10_000;

export interface ConversationStorage {
  readonly folder: ConversationFolder;
  readonly unsaved: UnsavedStore;
  readonly pages: PageChannel;
  readonly environment: Environment;
}

/** The state of the file when autosaving starts. */
export interface SavedState {
  /** Changes with every write to the file; null if the file does not exist yet. */
  readonly stamp: string | null;
  /** Whether the file has the conversation's current state. */
  readonly isWritten: boolean;
}

export class Autosave {
  constructor(
    readonly conversation: Conversation,
    readonly name: string,
    private readonly _storage: ConversationStorage,
    start: SavedState
  ) {
    this._stamp = start.stamp;
    this._written = start.isWritten ? conversation.state.get() : null;
    this._disposers = [
      conversation.state.subscribe(() => this._onChange()),
      _storage.pages.listen(changed => void (changed === name && this._enqueue(() => this._mergeFile())))
    ];
    conversation.interruptAbandoned();
    this._onChange();
    this._checkWriters();
  }

  /** Why the last save failed; null if it succeeded. */
  readonly problem = new Observable<string | null>(null);

  /** Resolves once the current state is saved, or the save has failed. */
  async flush(): Promise<void> {
    this._cancelSave?.();
    this._cancelSave = undefined;
    await this._enqueue(() => this._save());
  }

  /** Store unsaved changes in the browser, because this page is closing. `loadTranscript` merges them later. */
  stashUnsaved(): void {
    if (this._isDirty) {
      this._storage.unsaved.set(this.name, writeTranscript(this.conversation.state.get()));
    }
  }

  /** Stop autosaving. Once this resolves, the file is not written again. */
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
    this._cancelSave = this._storage.environment.after(SAVE_MS, () => {
      this._cancelSave = undefined;
      void this._enqueue(() => this._save());
    });
  }

  private async _save(): Promise<void> {
    if (!this._isDirty) {
      return;
    }
    try {
      if (this._stamp !== null) {
        await this._mergeFile();
      }
      const state = this.conversation.state.get();
      this._stamp = await this._storage.folder.write(this.name, writeTranscript(state));
      this._written = state;
      this._storage.unsaved.clear(this.name);
      this._storage.pages.announce(this.name);
      this.problem.set(null);
    } catch (error) {
      this.problem.set(error instanceof Error ? error.message : String(error));
    }
    this._onChange();
  }

  /** Merge the file if another page has written it. */
  private async _mergeFile(): Promise<void> {
    const stamp = await this._storage.folder.stamp(this.name);
    if (stamp === null || stamp === this._stamp) {
      return;
    }
    const theirs = readTranscript((await this._storage.folder.read(this.name)) ?? '');
    if (theirs) {
      const wasDirty = this._isDirty;
      this.conversation.merge(theirs);
      this._written = wasDirty ? this._written : this.conversation.state.get();
      this.conversation.interruptAbandoned();
    }
    this._stamp = stamp;
    this._checkWriters();
  }

  /** While another page writes an answer to this file, check at intervals whether that page is still active. */
  private _checkWriters(): void {
    const { messages, busy } = this.conversation.state.get();
    if (!this._isDisposed && !busy && !this._cancelCheck && messages.some(message => message.status === 'streaming')) {
      this._cancelCheck = this._storage.environment.after(CHECK_WRITERS_MS, () => {
        this._cancelCheck = undefined;
        this.conversation.interruptAbandoned();
        this._checkWriters();
      });
    }
  }

  /** Run a file operation after all earlier ones. */
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

/** The transcript of the file, merged with the unsaved changes of a page that was closed. Null if both are missing. */
export async function loadTranscript(name: string, storage: ConversationStorage): Promise<(SavedState & { transcript: Transcript }) | null> {
  const stamp = await storage.folder.stamp(name);
  const saved = stamp === null ? null : readTranscript((await storage.folder.read(name)) ?? '');
  const unsaved = readTranscript(storage.unsaved.get(name) ?? '');
  const transcript = saved && unsaved ? mergeTranscripts(unsaved, saved) : (saved ?? unsaved);
  return transcript && { transcript, stamp, isWritten: unsaved === null };
}

function isSame(one: Transcript | null, other: Transcript): boolean {
  return one !== null && one.messages === other.messages && one.title === other.title && one.removed === other.removed;
}
