/** Lists the models in memory in JupyterLab's Running panel. */

import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { IRunningSessionManagers, IRunningSessions } from '@jupyterlab/running';
import { LabIcon } from '@jupyterlab/ui-components';
import { Signal } from '@lumino/signaling';
import { formatBytes } from '../model/memory';
import { Models } from '../model/models';
import { Model } from '../model/types';
import { chatIcon } from './chatIcon';
import { FOCUS } from './panelPlugin';
import { IPico } from './pico';

export const runningPlugin: JupyterFrontEndPlugin<void> = {
  id: 'pico-jupyter:running',
  description: 'The models in memory in the Running panel.',
  autoStart: true,
  requires: [IPico],
  // A notebook page of Notebook 7 has no Running panel.
  optional: [IRunningSessionManagers],
  activate: (app: JupyterFrontEnd, pico: IPico, managers: IRunningSessionManagers | null) => {
    const { models, trans } = pico;
    managers?.add({
      name: trans.__('Pico models'),
      supportsMultipleViews: false,
      running: () => resident(models).map(model => new RunningModel(model, pico, () => void app.commands.execute(FOCUS))),
      shutdownAll: () => resident(models).forEach(({ name }) => void models.unload(name)),
      refreshRunning: () => void models.refresh(),
      runningChanged: changeSignal(models),
      shutdownLabel: trans.__('Unload'),
      shutdownAllLabel: trans.__('Unload All'),
      shutdownAllConfirmationText: trans.__('Unload all models? A model loads again when you send it a message.')
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

function resident(models: Models): readonly Model[] {
  return models.state.get().models.filter(model => model.resident !== null);
}

function changeSignal(models: Models): Signal<Models, void> {
  const signal = new Signal<Models, void>(models);
  models.state.subscribe(() => signal.emit());
  return signal;
}
