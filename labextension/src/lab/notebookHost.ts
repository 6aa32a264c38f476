/** Gives an assistant the notebook that the user used last, or the notebook that contains its panel. */

import { PathExt } from '@jupyterlab/coreutils';
import { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import { Contents } from '@jupyterlab/services';
import { Policy } from '../act/approvals';
import { HostState, NotebookHost, OpenNotebook } from '../act/assistant';
import { AssistantToolbox } from '../act/serverTools';
import { Observable } from '../model/observable';
import { NotebookToolbox } from './notebookTools';
import { IPico } from './pico';

/** The notebooks in which the user is never asked. A reload of the page forgets them. */
const trusted = new WeakSet<NotebookPanel>();

export class LabNotebookHost implements NotebookHost {
  /** `own` is the notebook that contains the panel. Without it, the host follows the tracker. */
  constructor(
    private readonly _pico: IPico,
    private readonly _notebooks: INotebookTracker,
    private readonly _contents: Contents.IManager,
    private readonly _own: NotebookPanel | null = null
  ) {
    this.state = new Observable(this._read());
    this._unsubscribe = _pico.settings.subscribe(this._update);
    _notebooks.currentChanged.connect(this._onNotebook);
    this._onNotebook();
  }

  readonly state: Observable<HostState>;

  open(): OpenNotebook | null {
    const panel = this._panel;
    return panel && this.openPanel(panel);
  }

  openPanel(panel: NotebookPanel): OpenNotebook {
    const toolbox = new AssistantToolbox(new NotebookToolbox(panel, this._contents), this._pico.send);
    return { name: nameOf(panel), toolbox, policy: () => this._policyOf(panel) };
  }

  setPolicy(policy: Policy): void {
    const panel = this._panel;
    if (policy === 'never') {
      if (panel) {
        trusted.add(panel);
      }
    } else {
      if (panel) {
        trusted.delete(panel);
      }
      this._pico.saveSetting('approvals', policy);
    }
    this._update();
  }

  dispose(): void {
    this._unsubscribe();
    this._notebooks.currentChanged.disconnect(this._onNotebook);
  }

  private get _panel(): NotebookPanel | null {
    const panel = this._own ?? this._notebooks.currentWidget;
    return panel?.isDisposed ? null : panel;
  }

  private _policyOf(panel: NotebookPanel | null): Policy {
    return panel && trusted.has(panel) ? 'never' : this._pico.settings.get().approvals;
  }

  private _read(): HostState {
    const panel = this._panel;
    const { maxSteps, allowsCode } = this._pico.settings.get();
    return { notebook: panel ? nameOf(panel) : '', policy: this._policyOf(panel), maxSteps, allowsCode };
  }

  private readonly _update = (): void => {
    const state = this._read();
    if (JSON.stringify(state) !== JSON.stringify(this.state.get())) {
      this.state.set(state);
    }
  };

  private readonly _onNotebook = (): void => {
    // Connecting a slot twice has no effect. A closed notebook drops its slots.
    this._panel?.context.pathChanged.connect(this._update);
    this._panel?.disposed.connect(this._update);
    this._update();
  };

  private readonly _unsubscribe: () => void;
}

function nameOf(panel: NotebookPanel): string {
  return PathExt.basename(panel.context.path);
}
