/** Wraps lines in notebooks of the chat kernel, whose cells are prompts. */

import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { NotebookPanel } from '@jupyterlab/notebook';
import { DisposableDelegate, IDisposable } from '@lumino/disposable';

const CHAT_KERNEL = 'pico';

export const lineWrapPlugin: JupyterFrontEndPlugin<void> = {
  id: 'pico-jupyter:line-wrap',
  description: 'Wraps lines in notebooks of the chat kernel.',
  autoStart: true,
  activate: (app: JupyterFrontEnd) => {
    app.docRegistry.addWidgetExtension('Notebook', {
      createNew: ({ content, sessionContext }: NotebookPanel): IDisposable => {
        let original: unknown;
        const wrap = (): void => {
          const isChatKernel = sessionContext.session?.kernel?.name === CHAT_KERNEL;
          const { code } = content.editorConfig;
          if (isChatKernel) {
            original ??= code.lineWrap;
          }
          if (original !== undefined) {
            content.editorConfig = { ...content.editorConfig, code: { ...code, lineWrap: isChatKernel ? true : original } };
          }
        };
        sessionContext.kernelChanged.connect(wrap);
        return new DisposableDelegate(() => sessionContext.kernelChanged.disconnect(wrap));
      }
    });
  }
};
