/** Reads parts of the notebook that was used last: cells, the whole notebook, the last error, and the kernel's variables. */

import { ICodeCellModel } from '@jupyterlab/cells';
import { PathExt } from '@jupyterlab/coreutils';
import { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import { Kernel } from '@jupyterlab/services';
import { TranslationBundle } from '@jupyterlab/translation';
import { ContextSource, cutMiddle, notebookText, Variable, variablesText } from '../model/context';
import { array, object, parseJson, string } from '../model/json';
import { AttachmentCandidate } from '../model/types';
import { Observable } from '../model/observable';
import { SharedNotebook } from '../view/services';
import { selectedCells } from './cells';

/** The kernel answers within this time, unless it is busy. */
const KERNEL_MS = 3000;
/** Removes terminal colours. */
const COLOURS = /\u001b\[[\d;]*m/g;

/** An expression, because user_expressions accept nothing else. It reads names, types and sizes, changes nothing, and creates no name. */
const VARIABLES = `__import__('json').dumps([(name, type(value).__name__, str(tuple(value.shape)) + (' ' + str([str(c) for c in value.columns][:40]) if hasattr(value, 'columns') else '') if isinstance(getattr(value, 'shape', None), tuple) else repr(value)[:80] if isinstance(value, (int, float, bool, complex, type(None))) else 'len ' + str(len(value)) if isinstance(value, (str, bytes, list, tuple, dict, set, frozenset)) else '') for name, value in list(get_ipython().user_ns.items()) if not name.startswith('_') and name not in ('In', 'Out', 'exit', 'quit', 'open', 'get_ipython') and name not in get_ipython().user_ns_hidden and type(value).__name__ not in ('module', 'type', 'function', 'builtin_function_or_method')][:300])`;

/** The parts of the notebook that a message can carry. `pickFiles` lets the user pick files of the server. */
export function contextSources(
  notebooks: INotebookTracker,
  trans: TranslationBundle,
  pickFiles?: () => Promise<readonly AttachmentCandidate[]>
): readonly ContextSource[] {
  const name = (): string => PathExt.basename(notebooks.currentWidget?.context.path ?? '') || trans.__('no notebook is open');
  const current = (): NotebookPanel => {
    if (!notebooks.currentWidget) {
      throw new Error(trans.__('Open a notebook first.'));
    }
    return notebooks.currentWidget;
  };
  return [
    {
      id: 'cell',
      label: trans.__('Selected cells'),
      hint: name,
      read: async budget => selectedCells(notebooks).map(cell => ({ ...cell, data: cutMiddle(cell.data, budget) }))
    },
    {
      id: 'notebook',
      label: trans.__('Whole notebook'),
      hint: name,
      read: async budget => [notebookCandidate(current(), budget)]
    },
    {
      id: 'error',
      label: trans.__('Last error'),
      hint: () => lastError(notebooks.currentWidget)?.name ?? trans.__('no cell has an error'),
      read: async budget => {
        const error = lastError(current());
        if (!error) {
          throw new Error(trans.__('No cell of this notebook has an error.'));
        }
        return [{ kind: 'text', name: error.name, data: cutMiddle(error.text, budget) }];
      }
    },
    {
      id: 'variables',
      label: trans.__('Variables'),
      hint: () => trans.__('names, types and sizes'),
      read: async budget => [await variablesCandidate(current(), budget, trans)]
    },
    ...(pickFiles
      ? [{ id: 'file' as const, label: trans.__('File'), hint: () => trans.__('of the server'), read: pickFiles }]
      : [])
  ];
}

/** The notebook that was used last, for messages that carry it. */
export function sharedNotebook(notebooks: INotebookTracker, setShared: (isShared: boolean) => void): SharedNotebook {
  const nameNow = (): string => PathExt.basename(notebooks.currentWidget?.context.path ?? '');
  const name = new Observable(nameNow());
  const update = (): void => name.set(nameNow());
  notebooks.currentChanged.connect((_, panel) => {
    update();
    panel?.context.pathChanged.connect(update);
  });
  return {
    name,
    read: budget => notebooks.currentWidget && notebookCandidate(notebooks.currentWidget, budget),
    setShared
  };
}

export function notebookCandidate({ content, context }: NotebookPanel, budget: number): AttachmentCandidate {
  const cells = content.widgets.map(({ model }) => ({ kind: model.type, source: model.sharedModel.getSource() }));
  return { kind: 'text', name: PathExt.basename(context.path), data: notebookText(cells, content.activeCellIndex, budget) };
}

/** The error of the active cell, or of the cell with an error that ran last. */
function lastError(panel: NotebookPanel | null): { readonly name: string; readonly text: string } | null {
  const cells = panel?.content.widgets ?? [];
  const failed = cells.flatMap((cell, index) => {
    const error = cell.model.type === 'code' ? errorOf(cell.model as ICodeCellModel) : '';
    return error ? [{ cell, index, error, count: (cell.model as ICodeCellModel).executionCount ?? 0 }] : [];
  });
  const last = failed.find(({ cell }) => cell === panel?.content.activeCell) ?? failed.sort((one, other) => other.count - one.count)[0];
  if (!panel || !last) {
    return null;
  }
  const name = `${PathExt.basename(panel.context.path)}, error of cell ${last.index + 1}`;
  return { name, text: `${last.cell.model.sharedModel.getSource()}\n\n${last.error}` };
}

/** The traceback in a cell's outputs, without terminal colours; '' without an error. */
export function errorOf({ outputs }: ICodeCellModel): string {
  for (let index = 0; index < outputs.length; index += 1) {
    const output = object(outputs.get(index).toJSON());
    if (output.output_type === 'error') {
      const traceback = array(output.traceback).map(line => string(line)).join('\n');
      return (traceback || `${string(output.ename)}: ${string(output.evalue)}`).replace(COLOURS, '');
    }
  }
  return '';
}

async function variablesCandidate({ context, sessionContext }: NotebookPanel, budget: number, trans: TranslationBundle): Promise<AttachmentCandidate> {
  const kernel = sessionContext.session?.kernel;
  if (!kernel) {
    throw new Error(trans.__('The notebook has no kernel.'));
  }
  const variables = await readVariables(kernel);
  if (!variables) {
    throw new Error(trans.__('The kernel did not list its variables: it is busy, or it is not a Python kernel.'));
  }
  const name = trans.__('variables of %1', PathExt.basename(context.path));
  return { kind: 'text', name, data: variablesText(variables, budget) || trans.__('There are no variables.') };
}

/** The kernel's variables. Null if it is busy, dead, or not IPython. Its history and its variables stay as they are. */
async function readVariables(kernel: Kernel.IKernelConnection): Promise<readonly Variable[] | null> {
  const future = kernel.requestExecute({ code: '', silent: true, store_history: false, user_expressions: { variables: VARIABLES } });
  const late = new Promise<null>(resolve => setTimeout(() => resolve(null), KERNEL_MS));
  const reply = await Promise.race([future.done.catch(() => null), late]);
  future.dispose();
  const expression = object(object(object(reply?.content).user_expressions).variables);
  const listed = parsePythonString(string(object(expression.data)['text/plain']));
  return listed === null
    ? null
    : array(parseJson(listed)).map(array).map(([name, type, detail]) => ({ name: string(name), type: string(type), detail: string(detail) }));
}

/** The value of a Python string literal; null for other text. JSON text has no newlines, so only quotes and backslashes are escaped. */
function parsePythonString(literal: string): string | null {
  const match = /^(['"])([^]*)\1$/.exec(literal);
  return match && match[2].replace(/\\(['"\\])/g, '$1');
}
