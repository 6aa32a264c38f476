/** Files of the file browser and cells of notebooks, dropped onto a panel. */

import { Notification } from '@jupyterlab/apputils';
import { MimeData } from '@lumino/coreutils';
import type { Drag } from '@lumino/dragdrop';
import { array, string } from '../model/json';
import { Offer } from '../model/types';
import { offerCells } from './cells';
import { readFiles } from './files';
import { Parts } from './host';

const FILES = 'application/x-jupyter-icontents';
const CELLS = 'application/vnd.jupyter.cells';
const DRAGGING = 'pico-mod-drag';

/** Whatever is dropped on `node` is handed to `attach`. The result ends that. */
export function takeDrops(node: HTMLElement, parts: Parts, attach: (offers: readonly Offer[]) => void): () => void {
  const listen = (type: string, act: (event: Drag.Event) => void): (() => void) => {
    const listener = (event: Event): void => {
      const drag = event as Drag.Event;
      if (isWelcome(drag.mimeData)) {
        drag.preventDefault();
        drag.stopPropagation();
        act(drag);
      }
    };
    node.addEventListener(type, listener);
    return () => node.removeEventListener(type, listener);
  };
  const disposers = [
    listen('lm-dragenter', () => node.classList.add(DRAGGING)),
    listen('lm-dragleave', () => node.classList.remove(DRAGGING)),
    listen('lm-dragover', event => {
      // Files can only be moved, which is what the file browser calls it: they stay where they are.
      event.dropAction = event.supportedActions.includes('copy') ? 'copy' : event.proposedAction;
    }),
    listen('lm-drop', event => {
      node.classList.remove(DRAGGING);
      event.dropAction = event.supportedActions.includes('copy') ? 'copy' : event.proposedAction;
      void readDrop(event, parts).then(attach);
    })
  ];
  return () => disposers.forEach(dispose => dispose());
}

function isWelcome(data: MimeData): boolean {
  return data.hasData(FILES) || data.hasData(CELLS);
}

async function readDrop({ mimeData, source }: Drag.Event, { app, notebooks, trans }: Parts): Promise<readonly Offer[]> {
  if (mimeData.hasData(CELLS)) {
    return notebooks ? offerCells(notebooks, source, array(mimeData.getData(CELLS))) : [];
  }
  try {
    return await readFiles(app.serviceManager.contents, array(mimeData.getData(FILES)).map(path => string(path)));
  } catch (error) {
    Notification.error(trans.__('The file could not be read: %1', error instanceof Error ? error.message : String(error)));
    return [];
  }
}
