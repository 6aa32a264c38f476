/** What JupyterLab can do for the chat: put code into notebooks, read cells and files, write exports. */

import { JupyterFrontEnd } from '@jupyterlab/application';
import { PathExt } from '@jupyterlab/coreutils';
import { IDocumentManager } from '@jupyterlab/docmanager';
import { FileDialog, IDefaultFileBrowser } from '@jupyterlab/filebrowser';
import { INotebookTracker, Notebook, NotebookActions } from '@jupyterlab/notebook';
import { Contents } from '@jupyterlab/services';
import { array, object, string } from '../model/json';
import { NewAttachment } from '../model/types';
import { Host, Insertion } from '../view/services';

export interface Parts {
  readonly app: JupyterFrontEnd;
  readonly notebooks: INotebookTracker | null;
  readonly documents: IDocumentManager | null;
  readonly browser: IDefaultFileBrowser | null;
}

export function labHost({ app, notebooks, documents, browser }: Parts): Host {
  const contents = app.serviceManager.contents;
  return {
    ...(notebooks && {
      insertCode: (code: string, where: Insertion) => insertCode(notebooks, code, where),
      selectedCells: () => selectedCells(notebooks)
    }),
    ...(documents && { pickFiles: () => pickFiles(documents, contents) }),
    exportText: (name, text) => void exportText(app, contents, browser?.model.path ?? '', name, text),
    ...(app.commands.hasCommand('settingeditor:open') && {
      openSettings: () => void app.commands.execute('settingeditor:open', { query: 'Pico' })
    })
  };
}

function insertCode(notebooks: INotebookTracker, code: string, where: Insertion): void {
  const notebook = notebooks.currentWidget?.content;
  if (!notebook) {
    return;
  }
  if (where === 'below') {
    NotebookActions.insertBelow(notebook);
  }
  const cell = notebook.activeCell;
  if (where === 'cursor' && cell?.editor) {
    cell.editor.replaceSelection?.(code);
  } else {
    cell?.model.sharedModel.setSource(code);
  }
}

function selectedCells(notebooks: INotebookTracker): readonly NewAttachment[] {
  const panel = notebooks.currentWidget;
  const notebook = panel?.content;
  if (!panel || !notebook) {
    return [];
  }
  return notebook.widgets.flatMap((cell, index) => {
    if (!notebook.isSelectedOrActive(cell)) {
      return [];
    }
    const source = cell.model.sharedModel.getSource();
    const output = outputText(notebook, index);
    const data = output ? `${source}\n\n# Output:\n${output}` : source;
    return [{ kind: 'text', name: `${PathExt.basename(panel.context.path)}, cell ${index + 1}`, data } satisfies NewAttachment];
  });
}

function outputText(notebook: Notebook, index: number): string {
  const cell = object(notebook.model?.cells.get(index).toJSON());
  const texts = array(cell.outputs).map(object).map(output => {
    const data = object(output.data);
    const traceback = array(output.traceback).map(line => string(line)).join('\n');
    return joined(output.text) || joined(data['text/plain']) || traceback;
  });
  // Terminal colours say nothing to a model.
  return texts.filter(Boolean).join('\n').replace(/\u001b\[[\d;]*m/g, '').trimEnd();
}

/** Notebooks have texts as a string or as lines. */
function joined(text: unknown): string {
  return string(text) || array(text).map(line => string(line)).join('');
}

async function pickFiles(documents: IDocumentManager, contents: Contents.IManager): Promise<readonly NewAttachment[]> {
  const { value } = await FileDialog.getOpenFiles({ manager: documents });
  const files = (value ?? []).filter(({ type }) => type !== 'directory');
  return Promise.all(files.map(file => readServerFile(contents, file.path)));
}

async function readServerFile(contents: Contents.IManager, path: string): Promise<NewAttachment> {
  const { content, format, mimetype, name } = await contents.get(path, { content: true });
  const kind = /^(image|video)\//.exec(mimetype)?.[1] as 'image' | 'video' | undefined;
  if (kind && format === 'base64') {
    return { kind, name, data: `data:${mimetype};base64,${String(content).replace(/\s/g, '')}` };
  }
  return { kind: 'text', name, data: typeof content === 'string' ? content : JSON.stringify(content, null, 1) };
}

async function exportText(app: JupyterFrontEnd, contents: Contents.IManager, folder: string, name: string, text: string): Promise<void> {
  const path = PathExt.join(folder, name);
  const isNotebook = name.endsWith('.ipynb');
  await contents.save(
    path,
    isNotebook ? { type: 'notebook', format: 'json', content: JSON.parse(text) } : { type: 'file', format: 'text', content: text }
  );
  await app.commands.execute('docmanager:open', { path });
}
