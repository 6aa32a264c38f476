/** Notebooks of the chat kernel: their cells are prose, so lines wrap. */

import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { NotebookPanel } from '@jupyterlab/notebook';
import { DisposableDelegate, IDisposable } from '@lumino/disposable';

const KERNEL = 'pico';

export const lineWrapPlugin: JupyterFrontEndPlugin<void> = {
  id: 'pico-jupyter:prose',
  description: 'Wraps lines in notebooks of the chat kernel.',
  autoStart: true,
  activate: (app: JupyterFrontEnd) => {
    app.docRegistry.addWidgetExtension('Notebook', {
      createNew: ({ content, sessionContext }: NotebookPanel): IDisposable => {
        let usual: unknown;
        const wrap = (): void => {
          const isProse = sessionContext.session?.kernel?.name === KERNEL;
          const { code } = content.editorConfig;
          if (isProse) {
            usual ??= code.lineWrap;
          }
          if (usual !== undefined) {
            content.editorConfig = { ...content.editorConfig, code: { ...code, lineWrap: isProse ? true : usual } };
          }
        };
        sessionContext.kernelChanged.connect(wrap);
        return new DisposableDelegate(() => sessionContext.kernelChanged.disconnect(wrap));
      }
    });
  }
};
