/** Synchronises the chat with the traits of the Python object. */

import { Assistant } from '../act/assistant';
import { Chat } from '../model/chat';
import { Json, object, oneOf, string } from '../model/json';
import { hasCommonMessage, readMessages } from '../model/transcript';
import { Environment, Message, REASONINGS } from '../model/types';
import { subscribeToConversation } from './subscribeToConversation';
import { WidgetModel } from './widgetModel';

/** Delay between two updates of the Python object while an answer grows. A reload loses at most the text of this time. */
const PUSH_MS = 1000;

/** The messages of the chat and of the trait when the two were last equal. */
interface Common {
  messages: readonly Message[];
}

/** Synchronises until the returned function is called. */
export function synchronize(chat: Chat, assistant: Assistant, model: WidgetModel, environment: Environment): () => void {
  const common = { messages: chat.conversation.state.get().messages };
  const disposers = [chatToTraits(chat, model, environment, common), traitsToChat(chat, assistant, model, common)];
  return () => disposers.forEach(dispose => dispose());
}

function chatToTraits(chat: Chat, model: WidgetModel, environment: Environment, common: Common): () => void {
  let cancelPush: (() => void) | undefined;
  const push = (): void => {
    cancelPush?.();
    cancelPush = undefined;
    pushMessages(chat, model, common);
  };
  const onConversation = (): void => {
    if (!chat.conversation.state.get().busy) {
      push();
    } else {
      cancelPush ??= environment.after(PUSH_MS, push);
    }
  };
  const onSettings = (): void => pushSettings(chat, model);
  const disposers = [
    subscribeToConversation(chat, onConversation),
    chat.state.subscribe(onSettings),
    chat.models.state.subscribe(onSettings)
  ];
  return () => {
    cancelPush?.();
    disposers.forEach(dispose => dispose());
  };
}

function pushMessages(chat: Chat, model: WidgetModel, common: Common): void {
  const { messages } = chat.conversation.state.get();
  if (messages !== common.messages) {
    common.messages = messages;
    model.set('messages', messages);
    model.save_changes();
  }
}

function pushSettings(chat: Chat, model: WidgetModel): void {
  const { reasoning, file, library } = chat.state.get();
  const { chosenName } = chat.models.state.get();
  const traits = { reasoning, model: chosenName || model.get('model'), file: library ? (file ?? '') : model.get('file') };
  const changed = Object.entries(traits).filter(([key, value]) => value !== model.get(key));
  if (changed.length) {
    changed.forEach(([key, value]) => model.set(key, value));
    model.save_changes();
  }
}

function traitsToChat(chat: Chat, assistant: Assistant, model: WidgetModel, common: Common): () => void {
  const listeners: readonly [string, (content: unknown) => void][] = [
    ['change:messages', () => showMessages(chat, readMessages(model.get('messages')), common)],
    ['change:model', () => chat.models.choose(string(model.get('model')) || chat.models.state.get().chosenName)],
    ['change:file', () => openFile(chat, string(model.get('file')))],
    ['change:reasoning', () => chat.setReasoning(oneOf(model.get('reasoning'), REASONINGS, 'default'))],
    ['msg:custom', content => receive(chat, assistant, object(content))]
  ];
  listeners.forEach(([event, listener]) => model.on(event, listener));
  return () => listeners.forEach(([event, listener]) => model.off(event, listener));
}

function receive(chat: Chat, assistant: Assistant, { type, text }: Json): void {
  if (type === 'stop') {
    chat.conversation.stop();
  } else if (type === 'act') {
    void chat.sendFromCode(string(text), assistant.actForCode);
  }
}

function showMessages(chat: Chat, messages: readonly Message[], common: Common): void {
  const { messages: present, busy } = chat.conversation.state.get();
  if (busy || JSON.stringify(messages) === JSON.stringify(common.messages)) {
    return;
  }
  common.messages = messages;
  if (present.length && !hasCommonMessage(present, messages)) {
    // This is another conversation: keep the open one in its file and start a new one.
    chat.startConversation(messages);
  } else {
    chat.conversation.replace(messages);
  }
}

function openFile(chat: Chat, file: string): void {
  if (file && file !== chat.state.get().file) {
    void chat.open(file);
  }
}
