/** Commands on the active cell: Explain asks in the panel; Fix, Document and Continue propose a change below the cell. */

import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette, Notification } from '@jupyterlab/apputils';
import { Cell, ICodeCellModel } from '@jupyterlab/cells';
import { INotebookTracker, NotebookActions, NotebookPanel } from '@jupyterlab/notebook';
import { ReactWidget } from '@jupyterlab/ui-components';
import { Menu, PanelLayout } from '@lumino/widgets';
import * as React from 'react';
import { CellProposal } from '../model/cellProposal';
import { CellTask, taskQuestion } from '../model/cellTasks';
import { supportsReasoning } from '../model/models';
import { CellProposalCard } from '../view/CellProposalCard';
import { chatIcon } from './chatIcon';
import { cellCandidates, selectedCells } from './cells';
import { errorOf } from './notebookContext';
import { ASK } from './panelPlugin';
import { IPico } from './pico';

export const EXPLAIN = 'pico:explain-cell';
export const FIX = 'pico:fix-cell';
const DOCUMENT = 'pico:document-cell';
const CONTINUE = 'pico:continue-cell';
const MENU = 'pico:cell-menu';

export const cellTasksPlugin: JupyterFrontEndPlugin<void> = {
  id: 'pico-jupyter:cell-tasks',
  description: 'Explains, fixes, documents and continues cells with a local model.',
  autoStart: true,
  requires: [IPico, INotebookTracker],
  optional: [ICommandPalette],
  activate: (app: JupyterFrontEnd, pico: IPico, notebooks: INotebookTracker, palette: ICommandPalette | null) => {
    const { commands } = app;
    const { trans } = pico;
    const isEnabled = (): boolean => !!notebooks.currentWidget?.content.activeCell;
    const tasks = new CellTasks(pico, notebooks, app);
    /** The cell under the pointer, for commands of the context menu; else the active cell. */
    const cellAt = ({ atPointer }: { readonly atPointer?: unknown }): Cell | null => {
      const { currentWidget, activeCell } = notebooks;
      const node = atPointer ? app.contextMenuHitTest(({ classList }) => classList.contains('jp-Cell')) : undefined;
      return currentWidget?.content.widgets.find(cell => cell.node === node) ?? activeCell;
    };
    commands.addCommand(EXPLAIN, { label: trans.__('Explain Cell'), icon: chatIcon, isEnabled, execute: args => tasks.explain(cellAt(args)) });
    const labels: Record<CellTask, string> = {
      fix: trans.__('Fix Cell'),
      document: trans.__('Document Cell'),
      continue: trans.__('Continue Below Cell')
    };
    for (const [command, task] of [[FIX, 'fix'], [DOCUMENT, 'document'], [CONTINUE, 'continue']] as const) {
      commands.addCommand(command, { label: labels[task], icon: chatIcon, isEnabled, execute: args => tasks.propose(task, labels[task], cellAt(args)) });
    }
    const all = [EXPLAIN, FIX, DOCUMENT, CONTINUE];
    const menu = new Menu({ commands });
    all.forEach(command => menu.addItem({ command }));
    commands.addCommand(MENU, {
      caption: trans.__('Ask a local model about this cell'),
      icon: chatIcon,
      isEnabled,
      execute: () => {
        const button = notebooks.activeCell?.node.querySelector(`[data-command="${MENU}"]`);
        const { left = 0, bottom = 0 } = button?.getBoundingClientRect() ?? {};
        menu.open(left, bottom);
      }
    });
    const category = trans.__('Local Models');
    all.forEach(command => palette?.addItem({ command, category }));
  }
};

/** Runs the tasks on the active cell of the notebook that was used last. */
class CellTasks {
  constructor(
    private readonly _pico: IPico,
    private readonly _notebooks: INotebookTracker,
    private readonly _app: JupyterFrontEnd
  ) {}

  explain(cell: Cell | null): void {
    const { trans } = this._pico;
    const hasError = cell?.model.type === 'code' && errorOf(cell.model as ICodeCellModel) !== '';
    const text = hasError
      ? trans.__('This cell fails. Explain the error in a few sentences, and how to correct it.')
      : trans.__('Explain in a few sentences what this cell does.');
    void this._app.commands.execute(ASK, { text, attachments: this._candidates(cell) });
  }

  /** Show the proposal of the model below the cell. The previous one for this cell is closed. */
  async propose(task: CellTask, label: string, cell: Cell | null): Promise<void> {
    const { trans, models, settings } = this._pico;
    const panel = this._notebooks.currentWidget;
    if (!panel || !cell) {
      return;
    }
    const refusal = this._refusal(panel, cell);
    if (refusal) {
      Notification.warning(refusal, { autoClose: 5000 });
      return;
    }
    this._close(cell);
    const position = panel.content.widgets.indexOf(cell) + 1;
    const source = cell.model.sharedModel.getSource();
    const proposal = new CellProposal({
      backend: models,
      environment: this._pico.environment,
      question: taskQuestion(task, taskCell(panel, cell)),
      before: task === 'continue' ? '' : source,
      request: async () => ({
        model: await models.ready(),
        reasoning: supportsReasoning(models.chosen) ? settings.get().reasoning : 'default',
        system: '',
        temperature: settings.get().temperature
      }),
      words: {
        noCode: trans.__('The model answered without code.'),
        noChange: trans.__('The model proposes no change.')
      }
    });
    const accept = (): string => {
      if (this._refusal(panel, cell)) {
        return this._refusal(panel, cell);
      }
      if (cell.model.sharedModel.getSource() !== source) {
        return trans.__('The cell has changed since. Ask again.');
      }
      this._apply(task, panel, cell, proposal.state.get().after);
      this._close(cell);
      return '';
    };
    const card = ReactWidget.create(
      <CellProposalCard
        proposal={proposal}
        models={models}
        trans={trans}
        title={`${label} ${position}`}
        onAccept={accept}
        onClose={() => this._close(cell)}
      />
    );
    card.addClass('pico-cell-proposal');
    // The model stops when the cell is deleted or the notebook is closed.
    card.disposed.connect(() => proposal.close());
    const layout = cell.layout as PanelLayout;
    layout.insertWidget(layout.widgets.findIndex(({ node }) => node.classList.contains('jp-Cell-inputWrapper')) + 1, card);
    this._cards.set(cell, card);
    await proposal.finished;
  }

  /** The selected cells if `cell` is one of them, else `cell`. */
  private _candidates(cell: Cell | null): { [key: string]: string }[] {
    const content = this._notebooks.currentWidget?.content;
    const isSelected = !!content && !!cell && content.isSelectedOrActive(cell);
    const candidates = isSelected || !cell ? selectedCells(this._notebooks) : cellCandidates(this._notebooks, content, [cell.model.toJSON()]);
    return candidates.map(({ name, data }) => ({ name, data }));
  }

  private _apply(task: CellTask, panel: NotebookPanel, cell: Cell, after: string): void {
    const notebook = panel.content;
    if (task !== 'continue') {
      cell.model.sharedModel.setSource(after);
    } else {
      notebook.activeCellIndex = notebook.widgets.indexOf(cell);
      NotebookActions.insertBelow(notebook);
      notebook.activeCell?.model.sharedModel.setSource(after);
    }
    notebook.activate();
  }

  /** Why the cell cannot be changed, or ''. */
  private _refusal(panel: NotebookPanel, cell: Cell): string {
    const { trans } = this._pico;
    if (panel.isDisposed || cell.isDisposed) {
      return trans.__('The cell is closed.');
    }
    return panel.context.model.readOnly || cell.readOnly ? trans.__('The cell is read-only.') : '';
  }

  private _close(cell: Cell): void {
    this._cards.get(cell)?.dispose();
    this._cards.delete(cell);
  }

  private readonly _cards = new WeakMap<Cell, ReactWidget>();
}

function taskCell({ content }: NotebookPanel, { model }: Cell): Parameters<typeof taskQuestion>[1] {
  const position = content.widgets.findIndex(widget => widget.model === model);
  const code = content.widgets.slice(0, position).filter(widget => widget.model.type === 'code');
  return {
    source: model.sharedModel.getSource(),
    language: content.model?.defaultKernelLanguage ?? '',
    isMarkdown: model.type === 'markdown',
    error: model.type === 'code' ? errorOf(model as ICodeCellModel) : '',
    before: code.map(widget => widget.model.sharedModel.getSource())
  };
}
