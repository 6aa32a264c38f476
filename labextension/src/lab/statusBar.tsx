/** Shows the chosen model, the progress of a load, and the models' memory use in the status bar. */

import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { IStatusBar, TextItem } from '@jupyterlab/statusbar';
import { ReactWidget } from '@jupyterlab/ui-components';
import * as React from 'react';
import { formatBytes, formatRoundedDown } from '../model/memory';
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
    const item = ReactWidget.create(<ModelStatus pico={pico} onClick={open} />);
    item.addClass('jp-mod-highlighted');
    bar?.registerStatusItem('pico-jupyter:status', { item, align: 'right', rank: 50 });
    void app.restored.then(() => pico.models.refresh());
  }
};

function ModelStatus({ pico, onClick }: { pico: IPico; onClick: () => void }): React.JSX.Element | null {
  const { chosenName, memory, busy } = useObservable(pico.models.state);
  const { trans } = pico;
  if (!chosenName) {
    return null;
  }
  const loadingModel = memory?.loading?.model ?? busy.find(name => !isLoaded(name, pico));
  const share = loadingModel ? loadShare(loadingModel, memory) : null;
  const progress = share === null ? trans.__('loading…') : trans.__('loading, %1 %', Math.floor(100 * share));
  const figure = loadingModel ? progress : memory?.used ? formatBytes(memory.used) : '';
  const title = memory
    ? trans.__('Local models use %1 of %2 of memory', formatBytes(memory.used), formatRoundedDown(memory.budget))
    : trans.__('Chat with a local model');
  return <TextItem source={[loadingModel ?? chosenName, figure].filter(Boolean).join(' · ')} title={title} onClick={onClick} />;
}

function isLoaded(name: string, { models }: IPico): boolean {
  return models.state.get().models.some(model => model.name === name && model.resident !== null);
}
