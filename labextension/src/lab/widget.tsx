/** The panel as a widget of JupyterLab. */

import { ReactWidget } from '@jupyterlab/ui-components';
import { Message } from '@lumino/messaging';
import * as React from 'react';
import { Chat } from '../model/chat';
import { Panel } from '../view/Panel';
import { Host } from '../view/services';
import { takeDrops } from './drop';
import { Parts } from './host';
import { chatIcon } from './icon';
import { IPico } from './service';

export class ChatWidget extends ReactWidget {
  constructor(
    readonly chat: Chat,
    private readonly _pico: IPico,
    private readonly _host: Host,
    parts: Parts
  ) {
    super();
    this.addClass('pico-lab-panel');
    this.title.icon = chatIcon;
    this.title.caption = _pico.trans.__('Chat with a local model');
    addEventListener('pagehide', this._onPageHide);
    this._endDrops = takeDrops(this.node, parts, offers => chat.attach(offers));
  }

  override render(): React.JSX.Element {
    const { preferences, renderer, trans } = this._pico;
    return <Panel chat={this.chat} host={this._host} preferences={preferences} renderer={renderer} trans={trans} />;
  }

  override dispose(): void {
    removeEventListener('pagehide', this._onPageHide);
    this._endDrops();
    this.chat.dispose();
    super.dispose();
  }

  protected override onActivateRequest(message: Message): void {
    super.onActivateRequest(message);
    // React has its turn first when the panel is shown for the first time.
    requestAnimationFrame(() => this.node.querySelector<HTMLElement>('.pico-composer textarea')?.focus());
  }

  private readonly _endDrops: () => void;

  private readonly _onPageHide = (): void => this.chat.abandon();
}
