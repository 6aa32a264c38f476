/** Interfaces for the storage of conversations. */

export interface FolderFile {
  readonly name: string;
  /** Changes with every write to the file. */
  readonly stamp: string;
}

/** A folder of text files. `stamp` and `read` return null for a missing file. `write` creates the folder and returns the new stamp. */
export interface ConversationFolder {
  list(): Promise<FolderFile[]>;
  stamp(name: string): Promise<string | null>;
  read(name: string): Promise<string | null>;
  write(name: string, text: string): Promise<string>;
  remove(name: string): Promise<void>;
}

/** Holds unsaved conversations of a page that is closing. Synchronous, because such a page cannot wait. */
export interface UnsavedStore {
  get(key: string): string | null;
  set(key: string, text: string): void;
  clear(key: string): void;
}

/** Notifies other open pages about changed files. */
export interface PageChannel {
  /** Notify the other pages that a file has changed. */
  announce(name: string): void;
  listen(listener: (name: string) => void): () => void;
}
