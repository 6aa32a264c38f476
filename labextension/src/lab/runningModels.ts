/** Lists the models in memory and the active downloads in JupyterLab's Running panel. */

import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { IRunningSessionManagers, IRunningSessions } from '@jupyterlab/running';
import { LabIcon } from '@jupyterlab/ui-components';
import { Signal } from '@lumino/signaling';
import { Download, isActive, shortName } from '../model/hub';
import { formatBytes } from '../model/memory';
import { Observable } from '../model/observable';
import { downloadFigure, downloadText } from '../view/DownloadProgress';
import { Models } from '../model/models';
import { Model } from '../model/types';
import { chatIcon } from './chatIcon';
import { FOCUS } from './panelPlugin';
import { IPico } from './pico';

export const runningPlugin: JupyterFrontEndPlugin<void> = {
  id: 'pico-jupyter:running',
  description: 'The models in memory and the downloads in the Running panel.',
  autoStart: true,
  requires: [IPico],
  // A notebook page of Notebook 7 has no Running panel.
  optional: [IRunningSessionManagers],
  activate: (app: JupyterFrontEnd, pico: IPico, managers: IRunningSessionManagers | null) => {
    const { models, trans } = pico;
    const { downloads } = models;
    const open = (): void => void app.commands.execute(FOCUS);
    managers?.add({
      name: trans.__('Pico models'),
      supportsMultipleViews: false,
      running: () => resident(models).map(model => new RunningModel(model, pico, open)),
      shutdownAll: () => resident(models).forEach(({ name }) => void models.unload(name)),
      refreshRunning: () => void models.refresh(),
      runningChanged: changeSignal(models.state),
      shutdownLabel: trans.__('Unload'),
      shutdownAllLabel: trans.__('Unload All'),
      shutdownAllConfirmationText: trans.__('Unload all models? A model loads again when you send it a message.')
    });
    managers?.add({
      name: trans.__('Pico downloads'),
      supportsMultipleViews: false,
      running: () => active(models).map(download => new RunningDownload(download, pico, open)),
      shutdownAll: () => active(models).forEach(({ model }) => void downloads.pause(model)),
      refreshRunning: () => void downloads.refresh(),
      runningChanged: changeSignal(downloads.state),
      shutdownLabel: trans.__('Pause'),
      shutdownAllLabel: trans.__('Pause All'),
      shutdownAllConfirmationText: trans.__('Pause all downloads? They can be resumed.')
    });
  }
};

class RunningModel implements IRunningSessions.IRunningItem {
  constructor(
    private readonly _model: Model,
    private readonly _pico: IPico,
    readonly open: () => void
  ) {}

  readonly shutdown = (): void => void this._pico.models.unload(this._model.name);

  icon(): LabIcon {
    return chatIcon;
  }

  label(): string {
    return this._model.name;
  }

  labelTitle(): string {
    return this._pico.trans.__('%1 uses %2 of memory', this._model.name, formatBytes(this._model.resident ?? 0));
  }

  detail(): string {
    return formatBytes(this._model.resident ?? 0);
  }
}

class RunningDownload implements IRunningSessions.IRunningItem {
  constructor(
    private readonly _download: Download,
    private readonly _pico: IPico,
    readonly open: () => void
  ) {}

  readonly shutdown = (): void => void this._pico.models.downloads.pause(this._download.model);

  icon(): LabIcon {
    return chatIcon;
  }

  label(): string {
    return shortName(this._download.model);
  }

  labelTitle(): string {
    return `${this._download.model}: ${downloadText(this._download, this._pico.trans)}`;
  }

  detail(): string {
    return downloadFigure(this._download, this._pico.trans);
  }
}

function active(models: Models): readonly Download[] {
  return models.downloads.state.get().downloads.filter(isActive);
}

function resident(models: Models): readonly Model[] {
  return models.state.get().models.filter(model => model.resident !== null);
}

function changeSignal<T>(state: Observable<T>): Signal<Observable<T>, void> {
  const signal = new Signal<Observable<T>, void>(state);
  state.subscribe(() => signal.emit());
  return signal;
}
