/** Shows the chosen model, the progress of a load and of downloads, and the models' memory use in the status bar. */

import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { IStatusBar, TextItem } from '@jupyterlab/statusbar';
import { ReactWidget } from '@jupyterlab/ui-components';
import * as React from 'react';
import { isActive, shortName } from '../model/hub';
import { formatBytes, formatRoundedDown } from '../model/memory';
import { downloadFigure, downloadText } from '../view/DownloadProgress';
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
  const { downloads } = useObservable(pico.models.downloads.state);
  const { trans } = pico;
  if (!chosenName) {
    return null;
  }
  const loadingModel = memory?.loading?.model ?? busy.find(name => !isLoaded(name, pico));
  const share = loadingModel ? loadShare(loadingModel, memory) : null;
  const loadProgress = share === null ? trans.__('loading…') : trans.__('loading, %1 %', Math.floor(100 * share));
  const figure = loadingModel ? loadProgress : memory?.used ? formatBytes(memory.used) : '';
  const active = downloads.filter(isActive);
  const arriving = active.map(download => `↓ ${shortName(download.model)} ${downloadFigure(download, trans)}`);
  const memoryUse = memory
    ? trans.__('Local models use %1 of %2 of memory', formatBytes(memory.used), formatRoundedDown(memory.budget))
    : trans.__('Chat with a local model');
  const progress = active.map(download => trans.__('Downloading %1: %2', download.model, downloadText(download, trans)));
  const source = [loadingModel ?? chosenName, figure, ...arriving].filter(Boolean).join(' · ');
  return <TextItem source={source} title={[memoryUse, ...progress].join('\n')} onClick={onClick} />;
}

function isLoaded(name: string, { models }: IPico): boolean {
  return models.state.get().models.some(model => model.name === name && model.resident !== null);
}
