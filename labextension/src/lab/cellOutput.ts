/** Renders outputs of ChatPanel in notebooks: the live widget, or the saved conversation if there is no kernel. A change of
 * the saved text does not render the widget again. */

import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { IDocumentManager } from '@jupyterlab/docmanager';
import { IDefaultFileBrowser } from '@jupyterlab/filebrowser';
import { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import { IRenderMimeRegistry, MimeModel } from '@jupyterlab/rendermime';
import { IRenderMime } from '@jupyterlab/rendermime-interfaces';
import { DisposableDelegate, IDisposable } from '@lumino/disposable';
import { Panel, Widget } from '@lumino/widgets';
import { NotebookHost } from '../act/assistant';
import { object, string } from '../model/json';
import { onActionsRequest } from '../view/embedding';
import { acceptDrops } from './drop';
import { cellActions, LabServices } from './labActions';
import { LabNotebookHost } from './notebookHost';
import { IPico } from './pico';

const PANEL = 'application/vnd.pico-jupyter.panel+json';
const WIDGET = 'application/vnd.jupyter.widget-view+json';
const MARKDOWN = 'text/markdown';
/** Ranks this factory before that of the widget manager, which has rank -10. */
const RANK = -20;

export const outputPlugin: JupyterFrontEndPlugin<void> = {
  id: 'pico-jupyter:output',
  description: 'Renders ChatPanel in cell outputs.',
  autoStart: true,
  requires: [IPico],
  optional: [INotebookTracker, IDocumentManager, IDefaultFileBrowser],
  activate: (
    app: JupyterFrontEnd,
    pico: IPico,
    notebooks: INotebookTracker | null,
    documents: IDocumentManager | null,
    browser: IDefaultFileBrowser | null
  ) => {
    const services = { app, trans: pico.trans, saveSetting: pico.saveSetting, notebooks, documents, browser };
    app.docRegistry.addWidgetExtension('Notebook', {
      createNew: (notebook: NotebookPanel): IDisposable => {
        const { content, sessionContext } = notebook;
        const { rendermime } = content;
        const host = notebooks && new LabNotebookHost(pico, notebooks, app.serviceManager.contents, notebook);
        // The widget manager adds its factory when the session is ready. PanelOutput waits for that before it renders the widget.
        const managerReady = sessionContext.ready.then(() => new Promise<void>(resolve => setTimeout(resolve)));
        const createRenderer = (): PanelOutput => new PanelOutput(rendermime, managerReady, services, host);
        rendermime.addFactory({ safe: false, mimeTypes: [PANEL], createRenderer }, RANK);
        return new DisposableDelegate(() => {
          rendermime.removeMimeType(PANEL);
          host?.dispose();
        });
      }
    });
  }
};

class PanelOutput extends Panel implements IRenderMime.IRenderer {
  constructor(
    private readonly _rendermime: IRenderMimeRegistry,
    private readonly _managerReady: Promise<void>,
    services: LabServices,
    notebookHost: NotebookHost | null
  ) {
    super();
    this.addClass('pico-output');
    onActionsRequest(this.node, panel => {
      this._removeDropListeners?.();
      this._removeDropListeners = acceptDrops(this.node, services, candidates => panel.attach(candidates));
      panel.setActions({ ...cellActions(services), saveMarkdown: markdown => this._saveMarkdown(markdown), notebookHost });
    });
  }

  async renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    this._model = model;
    this._showSaved(string(model.data[MARKDOWN]));
    await this._managerReady;
    const id = string(object(model.data[WIDGET]).model_id);
    if (!this.isDisposed && id && id !== this._modelId && this._rendermime.mimeTypes.includes(WIDGET)) {
      this._modelId = id;
      this._liveWidget?.dispose();
      this._liveWidget = this._add(WIDGET, 'pico-output-live', model);
    }
  }

  override dispose(): void {
    this._removeDropListeners?.();
    super.dispose();
  }

  private _showSaved(markdown: string): void {
    if (markdown !== this._savedMarkdown) {
      this._savedMarkdown = markdown;
      this._savedWidget?.dispose();
      this._savedWidget = this._add(MARKDOWN, 'pico-output-saved', new MimeModel({ data: { [MARKDOWN]: markdown }, trusted: false }));
    }
  }

  private _add(mimeType: string, className: string, model: IRenderMime.IMimeModel): Widget {
    const renderer = this._rendermime.createRenderer(mimeType);
    renderer.addClass(className);
    this.addWidget(renderer);
    void renderer.renderModel(model);
    return renderer;
  }

  private _saveMarkdown(markdown: string): void {
    if (this._model && this._model.data[MARKDOWN] !== markdown) {
      this._model.setData({ data: { ...this._model.data, [MARKDOWN]: markdown } });
    }
  }

  private _model: IRenderMime.IMimeModel | undefined;
  private _liveWidget: Widget | undefined;
  private _savedWidget: Widget | undefined;
  private _modelId = '';
  private _savedMarkdown: string | undefined;
  private _removeDropListeners: (() => void) | undefined;
}
