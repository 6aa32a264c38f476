/** What a browser tab is called and remembers, and how it hears of the others. */

import { UnsavedStore, PageChannel } from '../model/storage';
import { randomWord } from '../model/environment';

export const PREFIX = 'pico-jupyter:';

/** A word for this tab, which survives a reload; where nothing can be kept, a new one. */
export function pageId(): string {
  const key = `${PREFIX}page`;
  try {
    const id = sessionStorage.getItem(key) ?? randomWord(8);
    sessionStorage.setItem(key, id);
    return id;
  } catch {
    return randomWord(8);
  }
}

/** `scope` keeps servers apart that share an origin. */
export function localUnsavedStore(scope: string): UnsavedStore {
  const full = (key: string): string => `${PREFIX}${scope}:${key}`;
  return {
    get: key => localStorage.getItem(full(key)),
    set: (key, text) => {
      try {
        localStorage.setItem(full(key), text);
      } catch (error) {
        // The quota, which large pictures exceed. The file is at most a second old.
        console.warn('pico_jupyter: the last second of the conversation could not be put aside', error);
      }
    },
    clear: key => localStorage.removeItem(full(key))
  };
}

export function broadcastPageChannel(scope: string): PageChannel {
  const channel = new BroadcastChannel(`${PREFIX}${scope}`);
  return {
    tell: name => channel.postMessage(name),
    listen: listener => {
      const receive = (event: MessageEvent<unknown>): void => listener(String(event.data));
      channel.addEventListener('message', receive);
      return () => channel.removeEventListener('message', receive);
    }
  };
}
