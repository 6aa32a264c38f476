/** How a panel in a cell's output and the application around it meet, though they come in different bundles: the panel
 * calls for a actions with an event, and whoever knows one hands it over. */

import { AttachmentCandidate } from '../model/types';
import { AppActions } from './services';

const CALL = 'pico-jupyter:host';

/** The panel, as the application sees it. */
export interface EmbeddedPanel {
  /** Be served by this actions from now on. */
  setActions(actions: CellActions): void;
  /** Attach what was dropped. */
  attach(candidates: readonly AttachmentCandidate[]): void;
}

export interface CellActions extends AppActions {
  /** The conversation as it is to be read where no panel can be. */
  readonly saveMarkdown: (markdown: string) => void;
}

export function requestActions(element: HTMLElement, panel: EmbeddedPanel): void {
  element.dispatchEvent(new CustomEvent(CALL, { bubbles: true, detail: panel }));
}

export function onActionsRequest(element: HTMLElement, welcome: (panel: EmbeddedPanel) => void): void {
  element.addEventListener(CALL, event => {
    event.stopPropagation();
    welcome((event as CustomEvent<EmbeddedPanel>).detail);
  });
}
