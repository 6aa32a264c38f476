/** The anywidget module: the panel in a cell's output. */

import * as React from 'react';
import { createRoot } from 'react-dom/client';
import { Assistant } from '../act/assistant';
import { Chat } from '../model/chat';
import { systemEnvironment } from '../model/environment';
import { number, oneOf, string } from '../model/json';
import { Models } from '../model/models';
import { Observable } from '../model/observable';
import { readMessages } from '../model/transcript';
import { REASONINGS } from '../model/types';
import { pageId } from '../page/browserPage';
import { renderer } from '../view/renderMarkdown';
import { Services, untranslated } from '../view/services';
import { AutomaticBackend } from './automaticBackend';
import { CellPanel } from './CellPanel';
import { KernelBackend } from './kernelBackend';
import { isolateKeys } from './keys';
import { WidgetModel } from './widgetModel';
import { findStorage, pageServer } from './pageServer';
import { synchronize } from './sync';

const HEIGHT = 520;

interface Views {
  initialize(props: { model: WidgetModel }): () => void;
  render(props: { model: WidgetModel; el: HTMLElement }): () => void;
}

/** anywidget calls this function once for each Python object. The views of one object share a chat. */
export default (): Views => {
  let services: Services;
  return {
    initialize({ model }) {
      const environment = systemEnvironment(`${pageId()}-${string(model.get('key'))}`);
      const server = pageServer();
      const kernel = new KernelBackend(model, () => environment.newId());
      const backend = new AutomaticBackend(server, kernel, transport => {
        model.set('transport', transport);
        model.save_changes();
      });
      const chat = new Chat({
        environment,
        models: new Models(backend, environment, string(model.get('model'))),
        reasoning: oneOf(model.get('reasoning'), REASONINGS, 'default'),
        messages: readMessages(model.get('messages')),
        parameters: () => {
          const temperature = model.get('temperature');
          return { system: string(model.get('system')), temperature: typeof temperature === 'number' ? temperature : null };
        },
        stopKernel: () => model.send({ type: 'stop' })
      });
      chat.conversation.interruptAbandoned();
      const assistant = new Assistant(chat.models);
      chat.setAct(assistant.act);
      services = {
        chat,
        assistant,
        actions: {},
        preferences: new Observable({ sendKey: 'enter', sharesNotebook: false }),
        renderer: new Observable(renderer),
        trans: untranslated
      };
      const stop = synchronize(chat, assistant, model, environment);
      const stashUnsaved = (): void => chat.stashUnsaved();
      addEventListener('pagehide', stashUnsaved);
      if (server) {
        void findStorage(server, environment).then(storage => storage && chat.setStorage(storage, string(model.get('file'))));
      }
      return () => {
        removeEventListener('pagehide', stashUnsaved);
        stop();
        chat.dispose();
      };
    },
    render({ model, el }) {
      const frame = document.createElement('div');
      frame.className = 'pico-widget';
      const resize = (): void => frame.style.setProperty('--pico-height', `${number(model.get('height'), HEIGHT)}px`);
      resize();
      model.on('change:height', resize);
      isolateKeys(el);
      el.append(frame);
      const root = createRoot(frame);
      root.render(<CellPanel services={services} frame={frame} />);
      return () => {
        model.off('change:height', resize);
        root.unmount();
      };
    }
  };
};
