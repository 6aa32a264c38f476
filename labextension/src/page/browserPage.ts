/** The browser tab's id, its unsaved conversations, and its channel to the other tabs. */

import { PageChannel, UnsavedStore } from '../model/storage';
import { randomWord } from '../model/environment';

export const PREFIX = 'pico-jupyter:';

/** The id of this tab. It survives a reload, except where session storage is blocked. */
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

/** Unsaved conversations in local storage. `scope` separates servers that share an origin. */
export function localUnsavedStore(scope: string): UnsavedStore {
  const full = (key: string): string => `${PREFIX}${scope}:${key}`;
  return {
    get: key => localStorage.getItem(full(key)),
    set: (key, text) => {
      try {
        localStorage.setItem(full(key), text);
      } catch (error) {
        // Large images can exceed the quota. Then the changes since the last save are lost: those of one second at most.
        console.warn('pico_jupyter: the last second of the conversation could not be stored', error);
      }
    },
    clear: key => localStorage.removeItem(full(key))
  };
}

/** The channel between the tabs of one server. */
export function broadcastPageChannel(scope: string): PageChannel {
  const channel = new BroadcastChannel(`${PREFIX}${scope}`);
  return {
    announce: name => channel.postMessage(name),
    listen: listener => {
      const receive = (event: MessageEvent<unknown>): void => listener(String(event.data));
      channel.addEventListener('message', receive);
      return () => channel.removeEventListener('message', receive);
    }
  };
}
