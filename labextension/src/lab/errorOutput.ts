/** Adds buttons to the errors in outputs: Explain and Fix. */

import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { IRenderMime } from '@jupyterlab/rendermime-interfaces';
import { DisposableDelegate, IDisposable } from '@lumino/disposable';
import { Panel, Widget } from '@lumino/widgets';
import { EXPLAIN, FIX } from './cellTasks';
import { IPico } from './pico';

/** JupyterLab adds this type to the data of each error, and has no renderer for it. */
const ERROR = 'application/vnd.jupyter.error';
const TRACEBACK = 'application/vnd.jupyter.stderr';

export const errorPlugin: JupyterFrontEndPlugin<void> = {
  id: 'pico-jupyter:errors',
  description: 'Buttons on errors, to explain and fix them with a local model.',
  autoStart: true,
  requires: [IPico, INotebookTracker],
  activate: (app: JupyterFrontEnd, { trans }: IPico) => {
    const actions = [
      { command: EXPLAIN, label: trans.__('Explain') },
      { command: FIX, label: trans.__('Fix') }
    ];
    app.docRegistry.addWidgetExtension('Notebook', {
      createNew: (panel: NotebookPanel): IDisposable => {
        const { rendermime } = panel.content;
        const createRenderer = (): ErrorOutput => new ErrorOutput(rendermime, panel, app.commands, actions);
        rendermime.addFactory({ safe: true, mimeTypes: [ERROR], createRenderer }, RANK);
        return new DisposableDelegate(() => rendermime.removeMimeType(ERROR));
      }
    });
  }
};

/** Before the rank of JupyterLab's renderer of tracebacks, 110. */
const RANK = 100;

interface ErrorAction {
  readonly command: string;
  readonly label: string;
}

/** The traceback as JupyterLab shows it, and the buttons. */
class ErrorOutput extends Panel implements IRenderMime.IRenderer {
  constructor(
    rendermime: IRenderMimeRegistry,
    private readonly _panel: NotebookPanel,
    private readonly _commands: JupyterFrontEnd['commands'],
    actions: readonly ErrorAction[]
  ) {
    super();
    this._traceback = rendermime.createRenderer(TRACEBACK);
    this.addWidget(this._traceback);
    this.addWidget(this._bar(actions));
  }

  async renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    await this._traceback.renderModel(model);
  }

  private _bar(actions: readonly ErrorAction[]): Widget {
    const bar = new Widget();
    bar.addClass('pico-error-actions');
    for (const { command, label } of actions) {
      const button = document.createElement('button');
      button.type = 'button';
      button.textContent = label;
      button.addEventListener('click', () => this._run(command));
      bar.node.append(button);
    }
    return bar;
  }

  /** Makes the cell of this output the active one, and runs the command on it. */
  private _run(command: string): void {
    const { content } = this._panel;
    const index = content.widgets.findIndex(({ node }) => node.contains(this.node));
    if (index >= 0) {
      content.deselectAll();
      content.activeCellIndex = index;
      void this._commands.execute(command);
    }
  }

  private readonly _traceback: IRenderMime.IRenderer;
}
