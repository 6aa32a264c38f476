/** Outputs of ChatPanel in notebooks: the widget while there is one, else the conversation as it was saved. The text that
 * is saved follows the conversation, and the widget is not built again for that. */

import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { IDocumentManager } from '@jupyterlab/docmanager';
import { IDefaultFileBrowser } from '@jupyterlab/filebrowser';
import { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import { IRenderMimeRegistry, MimeModel } from '@jupyterlab/rendermime';
import { IRenderMime } from '@jupyterlab/rendermime-interfaces';
import { DisposableDelegate, IDisposable } from '@lumino/disposable';
import { Panel, Widget } from '@lumino/widgets';
import { object, string } from '../model/json';
import { onActionsRequest } from '../view/embedding';
import { acceptDrops } from './drop';
import { cellActions, LabServices } from './labActions';
import { IPico } from './pico';

const PANEL = 'application/vnd.pico-jupyter.panel+json';
const WIDGET = 'application/vnd.jupyter.widget-view+json';
const MARKDOWN = 'text/markdown';
/** Before the widget manager's own factory, which has -10. */
const RANK = -20;

export const outputPlugin: JupyterFrontEndPlugin<void> = {
  id: 'pico-jupyter:output',
  description: 'ChatPanel in the outputs of notebooks.',
  autoStart: true,
  requires: [IPico],
  optional: [INotebookTracker, IDocumentManager, IDefaultFileBrowser],
  activate: (
    app: JupyterFrontEnd,
    { trans }: IPico,
    notebooks: INotebookTracker | null,
    documents: IDocumentManager | null,
    browser: IDefaultFileBrowser | null
  ) => {
    const parts = { app, trans, notebooks, documents, browser };
    app.docRegistry.addWidgetExtension('Notebook', {
      createNew: ({ content: { rendermime }, sessionContext }: NotebookPanel): IDisposable => {
        // The widget manager comes when the kernel is known, and finds no renderers inside of others.
        const managed = sessionContext.ready.then(() => new Promise<void>(resolve => setTimeout(resolve)));
        const createRenderer = (): PanelOutput => new PanelOutput(rendermime, managed, parts);
        rendermime.addFactory({ safe: false, mimeTypes: [PANEL], createRenderer }, RANK);
        return new DisposableDelegate(() => rendermime.removeMimeType(PANEL));
      }
    });
  }
};

class PanelOutput extends Panel implements IRenderMime.IRenderer {
  constructor(
    private readonly _rendermime: IRenderMimeRegistry,
    private readonly _managed: Promise<void>,
    parts: LabServices
  ) {
    super();
    this.addClass('pico-output');
    onActionsRequest(this.node, panel => {
      this._removeDropListeners?.();
      this._removeDropListeners = acceptDrops(this.node, parts, candidates => panel.attach(candidates));
      panel.setActions({ ...cellActions(parts), saveMarkdown: markdown => this._startAutosave(markdown) });
    });
  }

  async renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    this._model = model;
    this._showSaved(string(model.data[MARKDOWN]));
    await this._managed;
    const id = string(object(model.data[WIDGET]).model_id);
    if (!this.isDisposed && id && id !== this._shown && this._rendermime.mimeTypes.includes(WIDGET)) {
      this._shown = id;
      this._live?.dispose();
      this._live = this._add(WIDGET, 'pico-output-live', model);
    }
  }

  override dispose(): void {
    this._removeDropListeners?.();
    super.dispose();
  }

  private _showSaved(markdown: string): void {
    if (markdown !== this._saved) {
      this._saved = markdown;
      this._still?.dispose();
      this._still = this._add(MARKDOWN, 'pico-output-saved', new MimeModel({ data: { [MARKDOWN]: markdown }, trusted: false }));
    }
  }

  private _add(mimeType: string, className: string, model: IRenderMime.IMimeModel): Widget {
    const renderer = this._rendermime.createRenderer(mimeType);
    renderer.addClass(className);
    this.addWidget(renderer);
    void renderer.renderModel(model);
    return renderer;
  }

  private _startAutosave(markdown: string): void {
    if (this._model && this._model.data[MARKDOWN] !== markdown) {
      this._model.setData({ data: { ...this._model.data, [MARKDOWN]: markdown } });
    }
  }

  private _model: IRenderMime.IMimeModel | undefined;
  private _live: Widget | undefined;
  private _still: Widget | undefined;
  private _shown = '';
  private _saved: string | undefined;
  private _removeDropListeners: (() => void) | undefined;
}
