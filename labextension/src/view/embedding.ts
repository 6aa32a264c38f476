/** How a panel in a cell's output and the application around it meet, though they come in different bundles: the panel
 * calls for a host with an event, and whoever knows one hands it over. */

import { Offer } from '../model/types';
import { Host } from './services';

const CALL = 'pico-jupyter:host';

/** The panel, as the application sees it. */
export interface Guest {
  /** Be served by this host from now on. */
  adopt(host: CellHost): void;
  /** Attach what was dropped. */
  attach(offers: readonly Offer[]): void;
}

export interface CellHost extends Host {
  /** The conversation as it is to be read where no panel can be. */
  readonly keepMarkdown: (markdown: string) => void;
}

export function callForHost(element: HTMLElement, guest: Guest): void {
  element.dispatchEvent(new CustomEvent(CALL, { bubbles: true, detail: guest }));
}

export function onCall(element: HTMLElement, welcome: (guest: Guest) => void): void {
  element.addEventListener(CALL, event => {
    event.stopPropagation();
    welcome((event as CustomEvent<Guest>).detail);
  });
}
