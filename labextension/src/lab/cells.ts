/** Inserts code into notebooks, and reads cells with their outputs as attachments. */

import { PathExt } from '@jupyterlab/coreutils';
import { INotebookTracker, Notebook, NotebookActions } from '@jupyterlab/notebook';
import { insertion } from '../model/insertion';
import { array, object, string } from '../model/json';
import { AttachmentCandidate } from '../model/types';
import { Insertion } from '../view/services';

/** Inserts code into the notebook that was used last. Returns false if it has no active cell, or if no notebook is open. */
export function insertCode(notebooks: INotebookTracker, code: string, where: Insertion): boolean {
  const notebook = notebooks.currentWidget?.content;
  if (!notebook) {
    return false;
  }
  if (where === 'below') {
    NotebookActions.insertBelow(notebook);
  }
  const { activeCell } = notebook;
  if (!activeCell) {
    return false;
  }
  const { sharedModel } = activeCell.model;
  if (where !== 'cursor') {
    sharedModel.setSource(code);
    return true;
  }
  // A cell that JupyterLab has not rendered yet has no cursor. The code is inserted at its end.
  const { editor } = activeCell;
  const source = sharedModel.getSource();
  const selection = editor?.getSelection();
  const start = editor && selection ? editor.getOffsetAt(selection.start) : source.length;
  const end = editor && selection ? editor.getOffsetAt(selection.end) : source.length;
  const edit = insertion(source, start, end, code);
  sharedModel.updateSource(edit.start, edit.end, edit.text);
  const cursor = editor?.getPositionAt(edit.start + edit.text.length);
  if (editor && cursor) {
    editor.setCursorPosition(cursor);
  }
  return true;
}

/** The selected cells of the notebook that was used last. */
export function selectedCells(notebooks: INotebookTracker): readonly AttachmentCandidate[] {
  const notebook = notebooks.currentWidget?.content;
  const selected = notebook?.widgets.filter(cell => notebook.isSelectedOrActive(cell)) ?? [];
  return notebook ? cellCandidates(notebooks, notebook, selected.map(cell => cell.model.toJSON())) : [];
}

/** Converts cells in notebook format to attachments. `source` is the notebook that contains the cells, if it is known. */
export function cellCandidates(notebooks: INotebookTracker, source: unknown, cells: readonly unknown[]): readonly AttachmentCandidate[] {
  const panel = notebooks.find(({ content }) => content === source);
  const ids = source instanceof Notebook ? source.widgets.map(cell => cell.model.id) : [];
  return cells.map(object).map(cell => {
    const position = ids.indexOf(string(cell.id)) + 1;
    const path = PathExt.basename(panel?.context.path ?? '');
    return { kind: 'text', name: position ? `${path}, cell ${position}` : `${path} cell`.trim(), data: cellText(cell) };
  });
}

function cellText(cell: ReturnType<typeof object>): string {
  const source = joined(cell.source);
  const outputs = array(cell.outputs).map(object).map(outputText).filter(Boolean).join('\n');
  // Removes terminal colours.
  const output = outputs.replace(/\u001b\[[\d;]*m/g, '').trimEnd();
  return output ? `${source}\n\n# Output:\n${output}` : source;
}

function outputText(output: ReturnType<typeof object>): string {
  const traceback = array(output.traceback).map(line => string(line)).join('\n');
  return joined(output.text) || joined(object(output.data)['text/plain']) || traceback;
}

/** The text of a field that the notebook format stores as a string or as a list of lines. */
function joined(text: unknown): string {
  return string(text) || array(text).map(line => string(line)).join('');
}
