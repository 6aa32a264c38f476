/** Stores the sidebar's state in session storage, so that it survives a reload of the page. */

import { object, oneOf, parseJson, string } from '../model/json';
import { Reasoning, REASONINGS } from '../model/types';
import { PREFIX } from '../page/browserPage';

/** The open conversation and the reasoning switch. */
export interface SidebarState {
  readonly file: string | null;
  readonly reasoning: Reasoning;
}

export function loadSidebarState(otherwise: SidebarState): SidebarState {
  const known = object(parseJson(sessionStorage.getItem(`${PREFIX}sidebar`) ?? ''));
  return {
    file: string(known.file) || otherwise.file,
    reasoning: oneOf(known.reasoning, REASONINGS, otherwise.reasoning)
  };
}

export function saveSidebarState({ file, reasoning }: SidebarState): void {
  sessionStorage.setItem(`${PREFIX}sidebar`, JSON.stringify({ file, reasoning }));
}
