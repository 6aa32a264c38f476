/** Synchronises the chat with the traits of the Python object. */

import { Chat } from '../model/chat';
import { object, oneOf, string } from '../model/json';
import { hasCommonMessage, readMessages } from '../model/transcript';
import { Environment, Message, REASONINGS } from '../model/types';
import { subscribeToConversation } from './subscribeToConversation';
import { WidgetModel } from './widgetModel';

/** Delay between two updates of the kernel while an answer grows. A reload loses at most this much. */
const PUSH_MS = 1000;

export function synchronize(chat: Chat, model: WidgetModel, environment: Environment): () => void {
  let cancelPush: (() => void) | undefined;
  let sent: readonly Message[] = chat.conversation.state.get().messages;
  const push = (): void => {
    cancelPush?.();
    cancelPush = undefined;
    const { messages } = chat.conversation.state.get();
    if (messages !== sent) {
      sent = messages;
      model.set('messages', messages);
      model.save_changes();
    }
  };
  const onConversation = (): void => {
    if (!chat.conversation.state.get().busy) {
      push();
    } else {
      cancelPush ??= environment.after(PUSH_MS, push);
    }
  };
  const onSettings = (): void => {
    const { reasoning, file, library } = chat.state.get();
    const { chosen } = chat.models.state.get();
    const wanted = { reasoning, model: chosen || model.get('model'), file: library ? (file ?? '') : model.get('file') };
    const changed = Object.entries(wanted).filter(([key, value]) => value !== model.get(key));
    if (changed.length) {
      changed.forEach(([key, value]) => model.set(key, value));
      model.save_changes();
    }
  };
  const disposers = [
    subscribeToConversation(chat, onConversation),
    chat.state.subscribe(onSettings),
    chat.models.state.subscribe(onSettings)
  ];

  const on = (event: string, listener: (content: unknown) => void): void => {
    model.on(event, listener);
    disposers.push(() => model.off(event, listener));
  };
  on('change:messages', () => {
    const messages = readMessages(model.get('messages'));
    if (JSON.stringify(messages) !== JSON.stringify(sent) && !chat.conversation.state.get().busy) {
      sent = messages;
      const present = chat.conversation.state.get().messages;
      if (present.length && !hasCommonMessage(present, messages)) {
        // The open conversation stays in its file.
        chat.startConversation(messages);
      } else {
        chat.conversation.replace(messages);
      }
    }
  });
  on('change:model', () => chat.models.choose(string(model.get('model')) || chat.models.state.get().chosen));
  on('change:file', () => {
    const file = string(model.get('file'));
    if (file && file !== chat.state.get().file) {
      void chat.open(file);
    }
  });
  on('change:reasoning', () => chat.setReasoning(oneOf(model.get('reasoning'), REASONINGS, 'default')));
  on('msg:custom', content => {
    if (object(content).type === 'stop') {
      chat.conversation.stop();
    }
  });
  return () => {
    cancelPush?.();
    disposers.forEach(dispose => dispose());
  };
}
