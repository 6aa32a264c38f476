/** The panel as a JupyterLab widget. */

import { ReactWidget } from '@jupyterlab/ui-components';
import { Message } from '@lumino/messaging';
import * as React from 'react';
import { Assistant } from '../act/assistant';
import { Chat } from '../model/chat';
import { Panel } from '../view/Panel';
import { AppActions } from '../view/services';
import { acceptDrops } from './drop';
import { LabServices } from './labActions';
import { chatIcon } from './chatIcon';
import { LabNotebookHost } from './notebookHost';
import { IPico } from './pico';

export class ChatWidget extends ReactWidget {
  constructor(
    readonly chat: Chat,
    private readonly _pico: IPico,
    private readonly _actions: AppActions,
    services: LabServices
  ) {
    super();
    this.addClass('pico-lab-panel');
    this.title.icon = chatIcon;
    this.title.caption = _pico.trans.__('Chat with a local model');
    const { app, notebooks } = services;
    this._host = notebooks && new LabNotebookHost(_pico, notebooks, app.serviceManager.contents);
    this.assistant = new Assistant(chat.models, this._host);
    chat.setAct(this.assistant.act);
    addEventListener('pagehide', this._onPageHide);
    this._removeDropListeners = acceptDrops(this.node, services, candidates => chat.attach(candidates));
  }

  readonly assistant: Assistant;

  override render(): React.JSX.Element {
    const { external, preferences, renderer, trans } = this._pico;
    return <Panel chat={this.chat} assistant={this.assistant} external={external} actions={this._actions} preferences={preferences} renderer={renderer} trans={trans} />;
  }

  override dispose(): void {
    removeEventListener('pagehide', this._onPageHide);
    this._removeDropListeners();
    this._host?.dispose();
    this.chat.dispose();
    super.dispose();
  }

  protected override onActivateRequest(message: Message): void {
    super.onActivateRequest(message);
    // When the panel is shown for the first time, React must render the text field before it can have the focus.
    requestAnimationFrame(() => this.node.querySelector<HTMLElement>('.pico-composer textarea')?.focus());
  }

  private readonly _removeDropListeners: () => void;
  private readonly _host: LabNotebookHost | null;

  private readonly _onPageHide = (): void => this.chat.stashUnsaved();
}
