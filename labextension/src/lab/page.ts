/** What this browser tab remembers of the sidebar. */

import { object, oneOf, parseJson, string } from '../model/json';
import { Reasoning, REASONINGS } from '../model/types';
import { PREFIX } from '../page/page';

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
