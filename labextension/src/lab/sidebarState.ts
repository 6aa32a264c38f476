/** Stores the sidebar's state in session storage, so that it survives a reload of the page. */

import { object, oneOf, parseJson, string } from '../model/json';
import { Mode, MODES, Reasoning, REASONINGS } from '../model/types';
import { PREFIX } from '../page/browserPage';

/** The open conversation and the switches. */
export interface SidebarState {
  readonly file: string | null;
  readonly reasoning: Reasoning;
  readonly mode: Mode;
}

export function loadSidebarState(otherwise: SidebarState): SidebarState {
  const known = object(parseJson(sessionStorage.getItem(`${PREFIX}sidebar`) ?? ''));
  return {
    file: string(known.file) || otherwise.file,
    reasoning: oneOf(known.reasoning, REASONINGS, otherwise.reasoning),
    mode: oneOf(known.mode, MODES, otherwise.mode)
  };
}

export function saveSidebarState({ file, reasoning, mode }: SidebarState): void {
  sessionStorage.setItem(`${PREFIX}sidebar`, JSON.stringify({ file, reasoning, mode }));
}
