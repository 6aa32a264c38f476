/** All conversations that are kept: listed, found, opened, renamed, deleted. */

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
  /** All that was said, in small letters. */
  readonly text: string;
}

export interface LibraryState {
  readonly entries: readonly ConversationEntry[];
  readonly loading: boolean;
  readonly problem: string | null;
}

export class Library {
  constructor(private readonly _place: ConversationStorage) {}

  readonly state = new Observable<LibraryState>({ entries: [], loading: false, problem: null });

  /** Look at the folder again. Files that did not change are not read again. */
  async refresh(): Promise<void> {
    this.state.patch({ loading: true });
    try {
      const files = (await this._place.drive.list()).filter(({ name }) => name.endsWith('.json'));
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
    const transcript = readTranscript((await this._place.drive.read(name)) ?? '');
    if (transcript) {
      const renamed = { ...transcript, title, titled: this._place.environment.now() };
      await this._place.drive.write(name, writeTranscript(renamed));
      this._place.pages.tell(name);
    }
    await this.refresh();
  }

  async remove(name: string): Promise<void> {
    await this._place.drive.remove(name);
    this._place.unsaved.clear(name);
    await this.refresh();
  }

  private async _entry({ name, stamp }: FolderFile): Promise<ConversationEntry | null> {
    const known = this._read.get(name);
    if (known?.stamp === stamp) {
      return known.entry;
    }
    const transcript = readTranscript((await this._place.drive.read(name)) ?? '');
    const entry = transcript && toEntry(name, transcript);
    this._read.set(name, { stamp, entry });
    return entry;
  }

  private readonly _read = new Map<string, { stamp: string; entry: ConversationEntry | null }>();
}

function toEntry(name: string, { title, created, messages }: Transcript): ConversationEntry {
  const said = messages.map(message => message.content);
  const changed = Math.max(created, ...messages.map(message => message.changed));
  return { name, title: title || 'Untitled', changed, text: [title, ...said].join('\n').toLowerCase() };
}

/** The entries in which all words of `query` occur. */
export function search(entries: readonly ConversationEntry[], query: string): readonly ConversationEntry[] {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  return words.length ? entries.filter(({ text }) => words.every(word => text.includes(word))) : entries;
}

/** When it began, and nothing of what was said: servers log the names of files. */
export function fileName({ id, created }: Transcript): string {
  return `${new Date(created).toISOString().slice(0, 16).replace('T', ' ').replace(':', '-')} ${id}.json`;
}
