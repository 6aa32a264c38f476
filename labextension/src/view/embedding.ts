/** Connects a panel in a cell's output with JupyterLab. The two are in different bundles, so the panel sends a
 * DOM event, and the output's renderer responds with the actions. */

import { NotebookHost } from '../act/assistant';
import { AttachmentCandidate } from '../model/types';
import { AppActions } from './services';

const REQUEST = 'pico-jupyter:actions';

/** The functions of a panel that the surrounding application calls. */
export interface EmbeddedPanel {
  /** Give the panel the actions of the application. */
  setActions(actions: CellActions): void;
  /** Attach files or cells that were dropped. */
  attach(candidates: readonly AttachmentCandidate[]): void;
}

export interface CellActions extends AppActions {
  /** Saves the conversation in the notebook, for readers without the panel. */
  readonly saveMarkdown: (markdown: string) => void;
  /** Gives the assistant the notebook that contains the panel. */
  readonly notebookHost: NotebookHost | null;
}

export function requestActions(element: HTMLElement, panel: EmbeddedPanel): void {
  element.dispatchEvent(new CustomEvent(REQUEST, { bubbles: true, detail: panel }));
}

export function onActionsRequest(element: HTMLElement, answer: (panel: EmbeddedPanel) => void): void {
  element.addEventListener(REQUEST, event => {
    event.stopPropagation();
    answer((event as CustomEvent<EmbeddedPanel>).detail);
  });
}
