/** The services that the application provides to the view. */

import * as React from 'react';
import { Assistant } from '../act/assistant';
import { ExternalCalls } from '../act/externalCalls';
import { LinkDefinitions } from '../model/blocks';
import { Chat } from '../model/chat';
import { ContextSource } from '../model/context';
import { Observable } from '../model/observable';
import { AttachmentCandidate } from '../model/types';

/** Translates texts with the interface of JupyterLab's translation bundles. `%1` in a text is replaced by the first value. */
export interface Translator {
  __(text: string, ...values: readonly unknown[]): string;
}

/** Where code is inserted: at the cursor of the active cell, in a new cell below that, or in place of the cell's code. */
export type Insertion = 'cursor' | 'below' | 'replace';

/** Actions that the application performs for the panel. The panel hides the controls of missing actions. */
export interface AppActions {
  /** Insert code into the notebook that was used last. */
  readonly insertCode?: (code: string, where: Insertion) => void;
  readonly insertions?: readonly Insertion[];
  /** The selected cells, with their outputs, of the notebook that was used last. */
  readonly selectedCells?: () => readonly AttachmentCandidate[];
  /** Parts of the open notebook that a message can carry. */
  readonly contexts?: readonly ContextSource[];
  /** The notebook that each message carries if the user wishes so. */
  readonly sharedNotebook?: SharedNotebook;
  /** Let the user pick files of the server. */
  readonly pickFiles?: () => Promise<readonly AttachmentCandidate[]>;
  readonly exportText?: (name: string, text: string) => void;
  readonly openInTab?: () => void;
  readonly openSettings?: () => void;
}

/** The notebook that was used last. */
export interface SharedNotebook {
  /** The name of its file; '' if no notebook is open. */
  readonly name: Observable<string>;
  /** Its text in at most `budget` characters; null if no notebook is open. */
  readonly read: (budget: number) => AttachmentCandidate | null;
  readonly setShared: (isShared: boolean) => void;
}

export interface Preferences {
  readonly sendKey: 'enter' | 'accel-enter';
  /** Whether each message carries the open notebook. */
  readonly sharesNotebook: boolean;
}

/** Renders text of a model as safe HTML: no scripts, no styles, and nothing is loaded from other servers. */
export interface Renderer {
  /** `definitions` are link definitions of other blocks. */
  markdown(source: string, definitions: LinkDefinitions): string;
  code(source: string, language: string): string;
}

export interface Services {
  readonly chat: Chat;
  readonly assistant: Assistant;
  /** The calls of other programs. Missing if the page has no notebooks for them. */
  readonly external?: ExternalCalls;
  readonly actions: AppActions;
  readonly preferences: Observable<Preferences>;
  /** null until the renderer is loaded. Until then the source is shown as text. */
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

/** Inserts the values, and leaves the texts in English. */
export const untranslated: Translator = {
  __: (text, ...values) => text.replace(/%(\d)/g, (_, position) => String(values[Number(position) - 1] ?? ''))
};
