/** The status bar's item: which model, and how much memory models take. */

import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { IStatusBar, TextItem } from '@jupyterlab/statusbar';
import { ReactWidget } from '@jupyterlab/ui-components';
import * as React from 'react';
import { bytes } from '../model/models';
import { useObservable } from '../view/services';
import { FOCUS } from './panel';
import { IPico } from './service';

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
  const { models, chosen } = useObservable(pico.models.state);
  if (!chosen) {
    return null;
  }
  const resident = models.reduce((sum, model) => sum + (model.resident ?? 0), 0);
  const source = resident ? `${chosen} · ${bytes(resident)}` : chosen;
  const title = pico.trans.__('Local models take %1 of memory', bytes(resident));
  return <TextItem source={source} title={title} onClick={onClick} />;
}
