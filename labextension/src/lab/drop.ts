/** Accepts files from the file browser and notebook cells that are dropped onto a panel. */

import { Notification } from '@jupyterlab/apputils';
import { MimeData } from '@lumino/coreutils';
import type { Drag } from '@lumino/dragdrop';
import { array, string } from '../model/json';
import { AttachmentCandidate } from '../model/types';
import { cellCandidates } from './cells';
import { readServerFiles } from './serverFiles';
import { LabServices } from './labActions';

const FILES = 'application/x-jupyter-icontents';
const CELLS = 'application/vnd.jupyter.cells';
const DRAG_CLASS = 'pico-mod-drag';

/** Calls `attach` with the files and cells that are dropped on `node`. Returns a function that removes the listeners. */
export function acceptDrops(node: HTMLElement, services: LabServices, attach: (candidates: readonly AttachmentCandidate[]) => void): () => void {
  const listen = (type: string, act: (event: Drag.Event) => void): (() => void) => {
    const listener = (event: Event): void => {
      const drag = event as Drag.Event;
      if (isAccepted(drag.mimeData)) {
        drag.preventDefault();
        drag.stopPropagation();
        act(drag);
      }
    };
    node.addEventListener(type, listener);
    return () => node.removeEventListener(type, listener);
  };
  const disposers = [
    listen('lm-dragenter', () => node.classList.add(DRAG_CLASS)),
    listen('lm-dragleave', () => node.classList.remove(DRAG_CLASS)),
    listen('lm-dragover', event => {
      // The file browser supports only the action 'move'. The drop still moves no files.
      event.dropAction = event.supportedActions.includes('copy') ? 'copy' : event.proposedAction;
    }),
    listen('lm-drop', event => {
      node.classList.remove(DRAG_CLASS);
      event.dropAction = event.supportedActions.includes('copy') ? 'copy' : event.proposedAction;
      void readDrop(event, services).then(attach);
    })
  ];
  return () => disposers.forEach(dispose => dispose());
}

function isAccepted(data: MimeData): boolean {
  return data.hasData(FILES) || data.hasData(CELLS);
}

async function readDrop({ mimeData, source }: Drag.Event, { app, notebooks, trans }: LabServices): Promise<readonly AttachmentCandidate[]> {
  if (mimeData.hasData(CELLS)) {
    return notebooks ? cellCandidates(notebooks, source, array(mimeData.getData(CELLS))) : [];
  }
  try {
    return await readServerFiles(app.serviceManager.contents, array(mimeData.getData(FILES)).map(path => string(path)));
  } catch (error) {
    Notification.error(trans.__('The file could not be read: %1', error instanceof Error ? error.message : String(error)));
    return [];
  }
}
