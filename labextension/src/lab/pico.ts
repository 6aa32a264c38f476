/** Provides the models and settings that all panels of a page share, and creates chats. */

import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { ITranslator, nullTranslator, TranslationBundle } from '@jupyterlab/translation';
import { Token } from '@lumino/coreutils';
import { ExternalCalls } from '../act/externalCalls';
import { Chat } from '../model/chat';
import { systemEnvironment } from '../model/environment';
import { HttpBackend } from '../model/httpBackend';
import { Models } from '../model/models';
import { Observable } from '../model/observable';
import { Send } from '../model/requests';
import { Environment } from '../model/types';
import { broadcastPageChannel, localUnsavedStore, pageId } from '../page/browserPage';
import { Preferences, Renderer } from '../view/services';
import { ContentsFolder } from './contentsFolder';
import { loadSettings, PanelSettings, SETTINGS_ID } from './settings';

export interface IPico {
  readonly models: Models;
  readonly environment: Environment;
  /** The calls of other programs that wait for approval. */
  readonly external: ExternalCalls;
  readonly settings: Observable<PanelSettings>;
  saveSetting(name: keyof PanelSettings, value: string | boolean): void;
  readonly preferences: Observable<Preferences>;
  readonly renderer: Observable<Renderer | null>;
  readonly trans: TranslationBundle;
  /** Sends requests with the page's credentials. */
  readonly send: Send;
  /** Creates a chat. `role` becomes part of the chat's page id, which is the same after a reload. */
  newChat(role: 'sidebar' | 'tab'): Chat;
}

export const IPico = new Token<IPico>('pico-jupyter:IPico', 'The local models and chats of pico_jupyter.');

export const servicePlugin: JupyterFrontEndPlugin<IPico> = {
  id: 'pico-jupyter:service',
  description: 'The local models and chats of pico_jupyter.',
  autoStart: true,
  optional: [ISettingRegistry, ITranslator],
  provides: IPico,
  activate: async (app: JupyterFrontEnd, registry: ISettingRegistry | null, translator: ITranslator | null): Promise<IPico> => {
    const { serverSettings, contents, events } = app.serviceManager;
    const settings = await loadSettings(registry);
    const send: Send = (path, init) => ServerConnection.makeRequest(URLExt.join(serverSettings.baseUrl, path), init, serverSettings);
    const backend = new HttpBackend(send);
    const environment = systemEnvironment(pageId());
    const saveSetting = (name: keyof PanelSettings, value: string | boolean): void =>
      void registry?.set(SETTINGS_ID, name, value).catch(error => console.warn('pico_jupyter: settings', error));
    const models = new Models(backend, environment, settings.get().defaultModel, name => saveSetting('defaultModel', name));
    events.stream.connect((_, event) => {
      if (event.schema_id.startsWith('urn:pico-jupyter:events:')) {
        void models.refresh();
      }
    });
    return {
      models,
      environment,
      external: new ExternalCalls(),
      settings,
      saveSetting,
      preferences: derive(settings, ({ sendKey, sharesNotebook }) => ({ sendKey, sharesNotebook })),
      renderer: lazyRenderer(),
      send,
      trans: (translator ?? nullTranslator).load('pico_jupyter'),
      newChat: role => {
        const own = { ...environment, page: `${environment.page}-${role}` };
        const scope = serverSettings.baseUrl;
        const folder = new ContentsFolder(contents, () => settings.get().folder);
        const storage = { folder, environment: own, unsaved: localUnsavedStore(scope), pages: broadcastPageChannel(scope) };
        const parameters = (): PanelSettings => settings.get();
        return new Chat({ environment: own, models, storage, parameters, reasoning: settings.get().reasoning });
      }
    };
  }
};

/** Loads the renderer and its parsers from a separate bundle, so that JupyterLab's start does not wait for them. */
function lazyRenderer(): Observable<Renderer | null> {
  const renderer = new Observable<Renderer | null>(null);
  void import('../view/renderMarkdown').then(module => renderer.set(module.renderer));
  return renderer;
}

function derive<From, To>(source: Observable<From>, pick: (value: From) => To): Observable<To> {
  const derived = new Observable(pick(source.get()));
  source.subscribe(() => derived.set(pick(source.get())));
  return derived;
}
