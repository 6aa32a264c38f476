/** The panel as a JupyterLab widget. */

import { ReactWidget } from '@jupyterlab/ui-components';
import { Message } from '@lumino/messaging';
import * as React from 'react';
import { Chat } from '../model/chat';
import { Panel } from '../view/Panel';
import { AppActions } from '../view/services';
import { acceptDrops } from './drop';
import { LabServices } from './labActions';
import { chatIcon } from './chatIcon';
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
    addEventListener('pagehide', this._onPageHide);
    this._removeDropListeners = acceptDrops(this.node, services, candidates => chat.attach(candidates));
  }

  override render(): React.JSX.Element {
    const { preferences, renderer, trans } = this._pico;
    return <Panel chat={this.chat} actions={this._actions} preferences={preferences} renderer={renderer} trans={trans} />;
  }

  override dispose(): void {
    removeEventListener('pagehide', this._onPageHide);
    this._removeDropListeners();
    this.chat.dispose();
    super.dispose();
  }

  protected override onActivateRequest(message: Message): void {
    super.onActivateRequest(message);
    // When the panel is shown for the first time, React must render the text field before it can have the focus.
    requestAnimationFrame(() => this.node.querySelector<HTMLElement>('.pico-composer textarea')?.focus());
  }

  private readonly _removeDropListeners: () => void;

  private readonly _onPageHide = (): void => this.chat.stashUnsaved();
}
