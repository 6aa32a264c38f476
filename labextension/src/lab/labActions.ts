/** The actions that JupyterLab offers to a panel. */

import { JupyterFrontEnd } from '@jupyterlab/application';
import { Notification } from '@jupyterlab/apputils';
import { IDocumentManager } from '@jupyterlab/docmanager';
import { IDefaultFileBrowser } from '@jupyterlab/filebrowser';
import { INotebookTracker } from '@jupyterlab/notebook';
import { TranslationBundle } from '@jupyterlab/translation';
import { AppActions, Insertion } from '../view/services';
import { insertCode, selectedCells } from './cells';
import { contextSources, sharedNotebook } from './notebookContext';
import { IPico } from './pico';
import { pickFiles, writeExport } from './serverFiles';

/** The services of JupyterLab that panels use. A service that the page lacks is null. */
export interface LabServices {
  readonly app: JupyterFrontEnd;
  readonly trans: TranslationBundle;
  readonly saveSetting: IPico['saveSetting'];
  readonly notebooks: INotebookTracker | null;
  readonly documents: IDocumentManager | null;
  readonly browser: IDefaultFileBrowser | null;
}

/** Actions for panels in the sidebar and in tabs. */
export function labActions(services: LabServices): AppActions {
  const { notebooks, trans } = services;
  const common = commonActions(services);
  return {
    ...common,
    ...(notebooks && {
      contexts: contextSources(notebooks, trans, common.pickFiles),
      sharedNotebook: sharedNotebook(notebooks, isShared => services.saveSetting('sharesNotebook', isShared)),
      insertions: ['cursor', 'below', 'replace'],
      selectedCells: () => {
        const cells = selectedCells(notebooks);
        if (!cells.length) {
          askForNotebook(services);
        }
        return cells;
      }
    })
  };
}

/** Actions for panels in cell outputs. The panel's own cell is the active one, so code is inserted only into new cells below. */
export function cellActions(services: LabServices): AppActions {
  return { ...commonActions(services), ...(services.notebooks && { insertions: ['below'] }) };
}

function commonActions(services: LabServices): AppActions {
  const { app, notebooks, documents } = services;
  const { contents } = app.serviceManager;
  return {
    ...(notebooks && {
      insertCode: (code: string, where: Insertion) => {
        if (!insertCode(notebooks, code, where)) {
          askForNotebook(services);
        }
      }
    }),
    ...(documents && { pickFiles: () => pickFiles(documents, contents) }),
    exportText: (name, text) => void exportText(services, name, text),
    ...(app.commands.hasCommand('settingeditor:open') && {
      openSettings: () => void app.commands.execute('settingeditor:open', { query: 'Pico' })
    })
  };
}

function askForNotebook({ trans }: LabServices): void {
  Notification.warning(trans.__('Open a notebook first. The chat works with the notebook that you used last.'), { autoClose: 5000 });
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
