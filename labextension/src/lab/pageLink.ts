/** Lets MCP clients of the server work in the notebooks of this page, with the user's approval. */

import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { PathExt, URLExt } from '@jupyterlab/coreutils';
import { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import { Policy, withApprovals } from '../act/approvals';
import { capped } from '../act/cellTexts';
import { FOCUS_MESSAGE, FromServer, readServerMessage, resultMessage } from '../act/pageMessages';
import { failure, Toolbox, ToolResult } from '../act/toolbox';
import { reasonOf } from '../model/wire';
import { NotebookToolbox } from './notebookTools';
import { FOCUS } from './panelPlugin';
import { IPico } from './pico';

/** Milliseconds before the page connects again: at first, and at most. */
const RETRY_MS = 1000;
const MAX_RETRY_MS = 60_000;
const RESULT_LENGTH = 20_000;
const NO_NOTEBOOK = 'No notebook is open in this page. Open one.';

export const pageLinkPlugin: JupyterFrontEndPlugin<void> = {
  id: 'pico-jupyter:page-link',
  description: 'Lets MCP clients work in the open notebook, with the approval of the user.',
  autoStart: true,
  requires: [IPico, INotebookTracker],
  activate: (app: JupyterFrontEnd, pico: IPico, notebooks: INotebookTracker) => {
    const caller = new NotebookCaller(app, pico, notebooks);
    const link = new PageLink(app, message => caller.handle(message));
    addEventListener('focus', () => link.focus());
    notebooks.currentChanged.connect(() => link.focus());
    pico.external.waiting.subscribe(() => {
      if (pico.external.waiting.get().length) {
        void app.commands.execute(FOCUS);
      }
    });
  }
};

/** The WebSocket to the server. It connects again after a loss. */
class PageLink {
  constructor(
    private readonly _app: JupyterFrontEnd,
    private readonly _handle: (message: FromServer) => Promise<string | null>
  ) {
    this._connect();
  }

  /** Tell the server that the user looks at this page. */
  focus(): void {
    if (this._socket?.readyState === WebSocket.OPEN) {
      this._socket.send(FOCUS_MESSAGE);
    }
  }

  private _connect(): void {
    const { wsUrl, token, WebSocket: Socket } = this._app.serviceManager.serverSettings;
    const query = token ? `?token=${encodeURIComponent(token)}` : '';
    const socket = (this._socket = new Socket(URLExt.join(wsUrl, 'pico/pages') + query));
    socket.onopen = () => {
      this._delay = RETRY_MS;
      if (document.hasFocus()) {
        this.focus();
      }
    };
    socket.onmessage = event => {
      const message = readServerMessage(String(event.data));
      if (message) {
        void this._handle(message).then(answer => answer && socket.readyState === Socket.OPEN && socket.send(answer));
      }
    };
    socket.onclose = () => {
      setTimeout(() => this._connect(), this._delay);
      this._delay = Math.min(2 * this._delay, MAX_RETRY_MS);
    };
  }

  private _socket: WebSocket | undefined;
  private _delay = RETRY_MS;
}

/** Calls the tools of the notebook in front. */
class NotebookCaller {
  constructor(
    private readonly _app: JupyterFrontEnd,
    private readonly _pico: IPico,
    private readonly _notebooks: INotebookTracker
  ) {}

  /** Handle a message. Resolves to the answer, or to null if it has none. */
  async handle(message: FromServer): Promise<string | null> {
    if (message.type === 'cancel') {
      this._running.get(message.id)?.abort();
      return null;
    }
    const abort = new AbortController();
    this._running.set(message.id, abort);
    try {
      const result = await this._call(message, abort.signal);
      return resultMessage(message.id, { ...result, text: capped(result.text, RESULT_LENGTH) });
    } catch (error) {
      return abort.signal.aborted ? null : resultMessage(message.id, failure(reasonOf(error)));
    } finally {
      this._running.delete(message.id);
    }
  }

  private async _call({ tool, args, client }: FromServer & { type: 'call' }, signal: AbortSignal): Promise<ToolResult> {
    const panel = this._notebooks.currentWidget;
    if (!panel) {
      return failure(NO_NOTEBOOK);
    }
    const ask = this._pico.external;
    // "Never ask" is a decision about the assistant of the panel, and not about other programs.
    const policy = (): Policy => this._pico.settings.get().approvals;
    const guarded = withApprovals(this._toolboxOf(panel), policy, (proposal, asked) =>
      ask.ask(client, PathExt.basename(panel.context.path), proposal, asked)
    );
    return guarded.call(tool, args, signal);
  }

  /** One toolbox for each notebook. It remembers the cells that programs have read. */
  private _toolboxOf(panel: NotebookPanel): Toolbox {
    const known = this._toolboxes.get(panel);
    if (known) {
      return known;
    }
    const notebook = new NotebookToolbox(panel, this._app.serviceManager.contents);
    const toolbox: Toolbox = {
      tools: async () => [],
      propose: (name, args) => notebook.propose(name, args),
      call: (name, args, signal, note) => notebook.call(name, args, signal, note)
    };
    this._toolboxes.set(panel, toolbox);
    return toolbox;
  }

  private readonly _running = new Map<number, AbortController>();
  private readonly _toolboxes = new WeakMap<NotebookPanel, Toolbox>();
}

