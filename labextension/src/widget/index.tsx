/** The anywidget module: the same panel in a cell's output. */

import * as React from 'react';
import { createRoot } from 'react-dom/client';
import { Chat } from '../model/chat';
import { randomWord, systemEnvironment } from '../model/environment';
import { number, oneOf, string } from '../model/json';
import { Models } from '../model/models';
import { Observable } from '../model/observable';
import { readMessages } from '../model/transcript';
import { REASONINGS } from '../model/types';
import { Panel } from '../view/Panel';
import { renderer } from '../view/render';
import { Services, untranslated } from '../view/services';
import { FoundBackend } from './backend';
import { KernelBackend } from './kernel';
import { isolateKeys } from './keys';
import { WidgetModel } from './model';
import { synchronise } from './sync';

const HEIGHT = 520;

interface Views {
  initialize(props: { model: WidgetModel }): () => void;
  render(props: { model: WidgetModel; el: HTMLElement }): () => void;
}

/** A function, so that each Python object gets a chat of its own, which its views share. */
export default (): Views => {
  let services: Services;
  return {
    initialize({ model }) {
      const environment = systemEnvironment(`${pageId()}-widget`);
      const kernel = new KernelBackend(model, () => environment.newId());
      const backend = new FoundBackend(kernel, transport => {
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
      chat.conversation.settle();
      services = {
        chat,
        host: {},
        preferences: new Observable({ sendKey: 'enter' }),
        renderer: new Observable(renderer),
        trans: untranslated
      };
      const stop = synchronise(chat, model, environment);
      return () => {
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
      root.render(<Panel {...services} />);
      return () => {
        model.off('change:height', resize);
        root.unmount();
      };
    }
  };
};

/** A word for this tab, which survives a reload; where nothing can be kept, a new one. */
function pageId(): string {
  try {
    const id = sessionStorage.getItem('pico-jupyter:page') ?? randomWord(8);
    sessionStorage.setItem('pico-jupyter:page', id);
    return id;
  } catch {
    return randomWord(8);
  }
}
