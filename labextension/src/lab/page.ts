/** What this browser tab remembers, and how it hears of the others. */

import { Lifeboat, Neighbours } from '../model/drive';
import { randomWord } from '../model/environment';
import { object, oneOf, parseJson, string } from '../model/json';
import { Reasoning, REASONINGS } from '../model/types';

const PREFIX = 'pico-jupyter:';

/** A word for this tab, which survives a reload. */
export function pageId(): string {
  const key = `${PREFIX}page`;
  const id = sessionStorage.getItem(key) ?? randomWord(8);
  sessionStorage.setItem(key, id);
  return id;
}

/** What the sidebar of this tab showed, for after a reload. */
export interface Sidebar {
  readonly file: string | null;
  readonly reasoning: Reasoning;
}

export function recallSidebar(otherwise: Sidebar): Sidebar {
  const known = object(parseJson(sessionStorage.getItem(`${PREFIX}sidebar`) ?? ''));
  return {
    file: string(known.file) || otherwise.file,
    reasoning: oneOf(known.reasoning, REASONINGS, otherwise.reasoning)
  };
}

export function rememberSidebar({ file, reasoning }: Sidebar): void {
  sessionStorage.setItem(`${PREFIX}sidebar`, JSON.stringify({ file, reasoning }));
}

/** `scope` keeps servers apart that share an origin. */
export function storageLifeboat(scope: string): Lifeboat {
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

export function channelNeighbours(scope: string): Neighbours {
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
