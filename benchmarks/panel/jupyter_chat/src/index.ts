/** Shows one message in @jupyter/chat. The benchmark makes it grow through `window.jupyterChat`. */

import { AbstractChatContext, AbstractChatModel, ChatWidget, IChatContext, IUser } from '@jupyter/chat';
import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';

class Context extends AbstractChatContext {
  get users(): IUser[] {
    return [];
  }
}

class Model extends AbstractChatModel {
  sendMessage(): void {}

  createChatContext(): IChatContext {
    return new Context({ model: this });
  }

  say(body: string): void {
    this.messageAdded({ type: 'msg', id: 'one', body, time: 1, sender: { username: 'model' } });
  }

  grow(body: string): void {
    this.messages[0].update({ body });
  }
}

const plugin: JupyterFrontEndPlugin<void> = {
  id: 'pico-jupyter-chat-benchmark:plugin',
  autoStart: true,
  requires: [IRenderMimeRegistry],
  activate: (app: JupyterFrontEnd, rmRegistry: IRenderMimeRegistry) => {
    const model = new Model();
    const widget = new ChatWidget({ model, rmRegistry });
    widget.id = 'jupyter-chat';
    widget.title.label = 'jupyter-chat';
    app.shell.add(widget, 'right');
    Object.assign(window, { jupyterChat: model });
  }
};

export default plugin;
