/** Lists, searches, renames and deletes the saved conversations. */

import { FolderFile } from './storage';
import { ConversationStorage } from './autosave';
import { Observable } from './observable';
import { readTranscript, writeTranscript } from './transcript';
import { Transcript } from './types';

const PARALLEL_READS = 8;

export interface ConversationEntry {
  readonly name: string;
  readonly title: string;
  /** Milliseconds since the epoch. */
  readonly changed: number;
  /** The title and all messages in lower case, for searches. */
  readonly text: string;
}

export interface LibraryState {
  readonly entries: readonly ConversationEntry[];
  readonly loading: boolean;
  readonly problem: string | null;
}

export class Library {
  constructor(private readonly _storage: ConversationStorage) {}

  readonly state = new Observable<LibraryState>({ entries: [], loading: false, problem: null });

  /** List the folder again. Only changed files are read. */
  async refresh(): Promise<void> {
    this.state.patch({ loading: true });
    try {
      const files = (await this._storage.folder.list()).filter(({ name }) => name.endsWith('.json'));
      const entries: ConversationEntry[] = [];
      for (let start = 0; start < files.length; start += PARALLEL_READS) {
        const read = await Promise.all(files.slice(start, start + PARALLEL_READS).map(file => this._entry(file)));
        entries.push(...read.filter(entry => entry !== null));
      }
      entries.sort((one, other) => other.changed - one.changed);
      this.state.set({ entries, loading: false, problem: null });
    } catch (error) {
      this.state.patch({ loading: false, problem: error instanceof Error ? error.message : String(error) });
    }
  }

  async rename(name: string, title: string): Promise<void> {
    const transcript = readTranscript((await this._storage.folder.read(name)) ?? '');
    if (transcript) {
      const renamed = { ...transcript, title, titled: this._storage.environment.now() };
      await this._storage.folder.write(name, writeTranscript(renamed));
      this._storage.pages.announce(name);
    }
    await this.refresh();
  }

  async remove(name: string): Promise<void> {
    await this._storage.folder.remove(name);
    this._storage.unsaved.clear(name);
    await this.refresh();
  }

  private async _entry({ name, stamp }: FolderFile): Promise<ConversationEntry | null> {
    const known = this._read.get(name);
    if (known?.stamp === stamp) {
      return known.entry;
    }
    const transcript = readTranscript((await this._storage.folder.read(name)) ?? '');
    const entry = transcript && toEntry(name, transcript);
    this._read.set(name, { stamp, entry });
    return entry;
  }

  private readonly _read = new Map<string, { stamp: string; entry: ConversationEntry | null }>();
}

function toEntry(name: string, { title, created, messages }: Transcript): ConversationEntry {
  const texts = messages.map(message => message.content);
  const changed = Math.max(created, ...messages.map(message => message.changed));
  return { name, title: title || 'Untitled', changed, text: [title, ...texts].join('\n').toLowerCase() };
}

/** The entries that contain all words of `query`. */
export function search(entries: readonly ConversationEntry[], query: string): readonly ConversationEntry[] {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  return words.length ? entries.filter(({ text }) => words.every(word => text.includes(word))) : entries;
}

/** A name from the start time and the id. It has no words of the conversation, because servers log file names. */
export function fileName({ id, created }: Transcript): string {
  return `${new Date(created).toISOString().slice(0, 16).replace('T', ' ').replace(':', '-')} ${id}.json`;
}
