/** The system's clock, timers and random ids. */

import { Environment } from './types';

export function systemEnvironment(page: string): Environment {
  return {
    now: () => Date.now(),
    newId: () => randomWord(10),
    after: (ms, run) => {
      const timer = setTimeout(run, ms);
      return () => clearTimeout(timer);
    },
    page
  };
}

/** Random lowercase letters and digits. crypto.randomUUID is missing on pages without TLS. */
export function randomWord(length: number): string {
  const bytes = crypto.getRandomValues(new Uint8Array(length));
  return Array.from(bytes, byte => 'abcdefghijklmnopqrstuvwxyz012345'[byte % 32]).join('');
}
