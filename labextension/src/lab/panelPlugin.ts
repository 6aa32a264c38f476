/** Adds the chat to the sidebar and to tabs, with their commands. */

import { ILayoutRestorer, JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette, MainAreaWidget, WidgetTracker } from '@jupyterlab/apputils';
import { IDocumentManager } from '@jupyterlab/docmanager';
import { IDefaultFileBrowser } from '@jupyterlab/filebrowser';
import { ILauncher } from '@jupyterlab/launcher';
import { INotebookTracker } from '@jupyterlab/notebook';
import { array, object, string } from '../model/json';
import { labActions, LabServices } from './labActions';
import { chatIcon } from './chatIcon';
import { loadSidebarState, saveSidebarState } from './sidebarState';
import { IPico } from './pico';
import { ChatWidget } from './ChatWidget';

export const FOCUS = 'pico:focus';
/** Asks in the sidebar: `text`, and `attachments` in the form of AttachmentCandidate. */
export const ASK = 'pico:ask';
const OPEN_TAB = 'pico:open-tab';
const NEW = 'pico:new';
const STOP = 'pico:stop';

export const panelPlugin: JupyterFrontEndPlugin<void> = {
  id: 'pico-jupyter:panel',
  description: 'Chat with local models in the sidebar and in tabs.',
  autoStart: true,
  requires: [IPico],
  optional: [INotebookTracker, IDocumentManager, IDefaultFileBrowser, ICommandPalette, ILauncher, ILayoutRestorer],
  activate: (
    app: JupyterFrontEnd,
    pico: IPico,
    notebooks: INotebookTracker | null,
    documents: IDocumentManager | null,
    browser: IDefaultFileBrowser | null,
    palette: ICommandPalette | null,
    launcher: ILauncher | null,
    restorer: ILayoutRestorer | null
  ) => {
    const services = { app, trans: pico.trans, saveSetting: pico.saveSetting, notebooks, documents, browser };
    const sidebar = addSidebar(services, pico, restorer);
    const tabs = new WidgetTracker<MainAreaWidget<ChatWidget>>({ namespace: 'pico-jupyter' });
    addCommands(services, pico, sidebar, tabs);
    void restorer?.restore(tabs, {
      command: OPEN_TAB,
      args: ({ content }) => ({ file: content.chat.state.get().file }),
      name: ({ id }) => id
    });
    const category = pico.trans.__('Local Models');
    [FOCUS, OPEN_TAB, NEW, STOP].forEach(command => palette?.addItem({ command, category }));
    launcher?.add({ command: OPEN_TAB, args: { isLauncher: true }, category: pico.trans.__('Other'), rank: 1 });
  }
};

function addSidebar(services: LabServices, pico: IPico, restorer: ILayoutRestorer | null): ChatWidget {
  const { app } = services;
  const chat = pico.newChat('sidebar');
  const openInTab = (): void =>
    void chat.flush().then(() => app.commands.execute(OPEN_TAB, { file: chat.state.get().file }));
  const sidebar = new ChatWidget(chat, pico, { ...labActions(services), openInTab }, services);
  sidebar.id = 'pico-chat-sidebar';
  app.shell.add(sidebar, 'right', { rank: 900 });
  restorer?.add(sidebar, sidebar.id);
  const { file, reasoning, mode } = loadSidebarState(chat.state.get());
  chat.setReasoning(reasoning);
  chat.setMode(mode);
  if (file) {
    void chat.open(file);
  }
  chat.state.subscribe(() => saveSidebarState(chat.state.get()));
  return sidebar;
}

type Tabs = WidgetTracker<MainAreaWidget<ChatWidget>>;

function addCommands(services: LabServices, pico: IPico, sidebar: ChatWidget, tabs: Tabs): void {
  const { commands, shell } = services.app;
  const { trans } = pico;
  /** The chat in the current tab. If that tab has no chat, the chat in the sidebar. */
  const current = (): ChatWidget => (tabs.currentWidget === shell.currentWidget && tabs.currentWidget?.content) || sidebar;
  commands.addCommand(FOCUS, {
    label: trans.__('Chat with a Local Model'),
    icon: chatIcon,
    execute: () => shell.activateById(sidebar.id)
  });
  commands.addCommand(OPEN_TAB, {
    label: args => (args.isLauncher ? trans.__('Local Chat') : trans.__('New Local Chat Tab')),
    caption: trans.__('Chat with a local model in a tab'),
    icon: chatIcon,
    execute: async args => {
      const file = typeof args.file === 'string' ? args.file : null;
      const open = file && tabs.find(({ content }) => content.chat.state.get().file === file);
      const tab = open || newTab(services, pico);
      if (!open) {
        shell.add(tab, 'main');
        await tabs.add(tab);
        tab.content.chat.state.subscribe(() => void tabs.save(tab));
        await (file && tab.content.chat.open(file));
      }
      shell.activateById(tab.id);
      return tab;
    }
  });
  commands.addCommand(NEW, {
    label: trans.__('New Conversation'),
    icon: chatIcon,
    execute: () => {
      current().chat.startConversation();
      shell.activateById(current() === sidebar ? sidebar.id : (tabs.currentWidget?.id ?? sidebar.id));
    }
  });
  commands.addCommand(ASK, {
    label: trans.__('Ask a Local Model'),
    isVisible: () => false,
    execute: ({ text, attachments }) => {
      shell.activateById(sidebar.id);
      sidebar.chat.attach(array(attachments).map(object).map(({ name, data }) => ({ kind: 'text', name: string(name), data: string(data) })));
      return sidebar.chat.send(string(text));
    }
  });
  commands.addCommand(STOP, {
    label: trans.__('Stop the Answer'),
    execute: () => current().chat.conversation.stop()
  });
}

function newTab(services: LabServices, pico: IPico): MainAreaWidget<ChatWidget> {
  const content = new ChatWidget(pico.newChat('tab'), pico, labActions(services), services);
  const tab = new MainAreaWidget({ content });
  tab.title.label = pico.trans.__('Chat');
  tab.title.icon = chatIcon;
  return tab;
}
