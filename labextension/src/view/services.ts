/** What the view gets from the application that it is shown in. Knows no application. */

import * as React from 'react';
import { Chat } from '../model/chat';
import { Observable } from '../model/observable';
import { AttachmentCandidate } from '../model/types';

/** As in JupyterLab's translation bundles: `%1` is the first argument. */
export interface Translator {
  __(text: string, ...values: readonly unknown[]): string;
}

/** At the cursor of the active cell, in a new cell below it, in its place. */
export type Insertion = 'cursor' | 'below' | 'replace';

/** What the application can do beyond showing the chat; what is missing is not offered. */
export interface AppActions {
  /** Put code into the notebook that was used last. */
  readonly insertCode?: (code: string, where: Insertion) => void;
  readonly insertions?: readonly Insertion[];
  /** The selected cells of that notebook, with their outputs. */
  readonly selectedCells?: () => readonly AttachmentCandidate[];
  /** Let the user choose files that the server has. */
  readonly pickFiles?: () => Promise<readonly AttachmentCandidate[]>;
  readonly exportText?: (name: string, text: string) => void;
  readonly openInTab?: () => void;
  readonly openSettings?: () => void;
}

export interface Preferences {
  readonly sendKey: 'enter' | 'accel-enter';
}

/** Renders what a model wrote. The HTML is safe: no scripts, no styles, nothing is loaded from anywhere. */
export interface Renderer {
  markdown(source: string): string;
  code(source: string, language: string): string;
}

export interface Services {
  readonly chat: Chat;
  readonly actions: AppActions;
  readonly preferences: Observable<Preferences>;
  /** null until it is loaded; text is shown plain until then. */
  readonly renderer: Observable<Renderer | null>;
  readonly trans: Translator;
}

const Context = React.createContext<Services | null>(null);

export const ServicesProvider = Context.Provider;

export function useServices(): Services {
  const services = React.useContext(Context);
  if (!services) {
    throw new Error('The panel is shown without its services.');
  }
  return services;
}

export function useObservable<T>(observable: Observable<T>): T {
  return React.useSyncExternalStore(observable.subscribe, observable.get);
}

/** English as it is written in the code. */
export const untranslated: Translator = {
  __: (text, ...values) => text.replace(/%(\d)/g, (_, position) => String(values[Number(position) - 1] ?? ''))
};
