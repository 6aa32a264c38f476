/** What the model needs of the place where conversations are kept. */

export interface FolderFile {
  readonly name: string;
  /** Changes whenever the file does. */
  readonly stamp: string;
}

/** A folder of text files. A file that is not there is null; the folder comes into being with the first file. */
export interface ConversationFolder {
  list(): Promise<FolderFile[]>;
  stamp(name: string): Promise<string | null>;
  read(name: string): Promise<string | null>;
  write(name: string, text: string): Promise<string>;
  remove(name: string): Promise<void>;
}

/** Where a page that is about to go away puts what it has not written yet. Synchronous. */
export interface UnsavedStore {
  get(key: string): string | null;
  set(key: string, text: string): void;
  clear(key: string): void;
}

/** The other pages that are open on the same conversations. */
export interface PageChannel {
  /** Tell them that the file has changed. */
  tell(name: string): void;
  listen(listener: (name: string) => void): () => void;
}
