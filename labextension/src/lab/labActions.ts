/** What JupyterLab can do for the chat. */

import { JupyterFrontEnd } from '@jupyterlab/application';
import { Notification } from '@jupyterlab/apputils';
import { IDocumentManager } from '@jupyterlab/docmanager';
import { IDefaultFileBrowser } from '@jupyterlab/filebrowser';
import { INotebookTracker } from '@jupyterlab/notebook';
import { TranslationBundle } from '@jupyterlab/translation';
import { AppActions, Insertion } from '../view/services';
import { insertCode, selectedCells } from './cells';
import { pickFiles, writeExport } from './serverFiles';

export interface LabServices {
  readonly app: JupyterFrontEnd;
  readonly trans: TranslationBundle;
  readonly notebooks: INotebookTracker | null;
  readonly documents: IDocumentManager | null;
  readonly browser: IDefaultFileBrowser | null;
}

/** Beside notebooks. */
export function labActions(parts: LabServices): AppActions {
  const { notebooks } = parts;
  return {
    ...commonActions(parts),
    ...(notebooks && {
      insertions: ['cursor', 'below', 'replace'],
      selectedCells: () => {
        const cells = selectedCells(notebooks);
        if (!cells.length) {
          askForNotebook(parts);
        }
        return cells;
      }
    })
  };
}

/** In a cell's output, whose cell is the active one: its code is not to be written over, nor asked about. */
export function cellActions(parts: LabServices): AppActions {
  return { ...commonActions(parts), ...(parts.notebooks && { insertions: ['below'] }) };
}

function commonActions(parts: LabServices): AppActions {
  const { app, notebooks, documents } = parts;
  const { contents } = app.serviceManager;
  return {
    ...(notebooks && {
      insertCode: (code: string, where: Insertion) => {
        if (!insertCode(notebooks, code, where)) {
          askForNotebook(parts);
        }
      }
    }),
    ...(documents && { pickFiles: () => pickFiles(documents, contents) }),
    exportText: (name, text) => void exportText(parts, name, text),
    ...(app.commands.hasCommand('settingeditor:open') && {
      openSettings: () => void app.commands.execute('settingeditor:open', { query: 'Pico' })
    })
  };
}

function askForNotebook({ trans }: LabServices): void {
  Notification.warning(trans.__('Open a notebook first: the chat works with the one that you used last.'), { autoClose: 5000 });
}

async function exportText({ app, browser, trans }: LabServices, name: string, text: string): Promise<void> {
  try {
    const path = await writeExport(app.serviceManager.contents, browser?.model.path ?? '', name, text);
    await app.commands.execute('docmanager:open', { path });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    Notification.error(trans.__('The conversation could not be exported: %1', reason), { autoClose: 10_000 });
  }
}
