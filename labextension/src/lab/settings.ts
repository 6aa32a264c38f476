/** Reads the user's settings. schema/panel.json describes them. */

import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { POLICIES, Policy } from '../act/approvals';
import { MAX_STEPS } from '../act/loop';
import { number, object, oneOf, string } from '../model/json';
import { Observable } from '../model/observable';
import { Reasoning, REASONINGS } from '../model/types';

export const SETTINGS_ID = 'pico-jupyter:panel';

export interface PanelSettings {
  readonly defaultModel: string;
  readonly reasoning: Reasoning;
  readonly system: string;
  /** null for the model's default. */
  readonly temperature: number | null;
  readonly sendKey: 'enter' | 'accel-enter';
  readonly sharesNotebook: boolean;
  readonly folder: string;
  readonly approvals: Policy;
  readonly maxSteps: number;
  readonly allowsCode: boolean;
}

export const DEFAULTS = readSettings({});

export function readSettings(composite: unknown): PanelSettings {
  const values = object(composite);
  return {
    defaultModel: string(values.defaultModel),
    reasoning: oneOf(values.reasoning, REASONINGS, 'default'),
    system: string(values.system),
    temperature: typeof values.temperature === 'number' ? number(values.temperature) : null,
    sendKey: oneOf(values.sendKey, ['enter', 'accel-enter'], 'enter'),
    sharesNotebook: values.sharesNotebook === true,
    folder: string(values.folder).replace(/^\/+|\/+$/g, '') || 'Chats',
    approvals: oneOf(values.approvals, POLICIES.filter(policy => policy !== 'never'), 'always'),
    maxSteps: Math.max(1, Math.floor(number(values.maxSteps, MAX_STEPS))),
    allowsCode: values.allowActFromCode === true
  };
}

/** Loads the settings, and updates them when the user changes them. Without a registry they are the defaults. */
export async function loadSettings(registry: ISettingRegistry | null): Promise<Observable<PanelSettings>> {
  const observable = new Observable(DEFAULTS);
  const settings = await registry?.load(SETTINGS_ID).catch(error => void console.warn('pico_jupyter: settings', error));
  if (settings) {
    const update = (): void => observable.set(readSettings(settings.composite));
    settings.changed.connect(update);
    update();
  }
  return observable;
}
