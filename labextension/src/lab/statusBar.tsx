/** The status bar's item: which model, how far it is while it loads, and how much memory models take. */

import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { IStatusBar, TextItem } from '@jupyterlab/statusbar';
import { ReactWidget } from '@jupyterlab/ui-components';
import * as React from 'react';
import { formatRoundedDown, formatBytes } from '../model/memory';
import { loadShare } from '../view/LoadProgress';
import { useObservable } from '../view/services';
import { FOCUS } from './panelPlugin';
import { IPico } from './pico';

export const statusPlugin: JupyterFrontEndPlugin<void> = {
  id: 'pico-jupyter:status',
  description: 'The local model in the status bar.',
  autoStart: true,
  requires: [IPico],
  // Notebook 7 has no status bar.
  optional: [IStatusBar],
  activate: (app: JupyterFrontEnd, pico: IPico, bar: IStatusBar | null) => {
    const open = (): void => void app.commands.execute(FOCUS);
    const item = ReactWidget.create(<Status pico={pico} onClick={open} />);
    item.addClass('jp-mod-highlighted');
    bar?.registerStatusItem('pico-jupyter:status', { item, align: 'right', rank: 50 });
    void app.restored.then(() => pico.models.refresh());
  }
};

function Status({ pico, onClick }: { pico: IPico; onClick: () => void }): React.JSX.Element | null {
  const { chosen, memory, busy } = useObservable(pico.models.state);
  const { trans } = pico;
  if (!chosen) {
    return null;
  }
  const coming = memory?.loading?.model ?? busy.find(name => !isHere(name, pico));
  const share = coming ? loadShare(coming, memory) : null;
  const progress = share === null ? trans.__('loading…') : trans.__('loading, %1 %', Math.floor(100 * share));
  const figure = coming ? progress : memory?.used ? formatBytes(memory.used) : '';
  const title = memory
    ? trans.__('Local models take %1 of %2 of memory', formatBytes(memory.used), formatRoundedDown(memory.budget))
    : trans.__('Chat with a local model');
  return <TextItem source={[coming ?? chosen, figure].filter(Boolean).join(' · ')} title={title} onClick={onClick} />;
}

function isHere(name: string, { models }: IPico): boolean {
  return models.state.get().models.some(model => model.name === name && model.resident !== null);
}
