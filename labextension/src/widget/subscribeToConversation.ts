/** Subscribes to the open conversation of a chat. When the user opens another conversation, the subscription changes to it. */

import { Chat } from '../model/chat';

export function subscribeToConversation(chat: Chat, listener: () => void): () => void {
  let current = chat.conversation;
  let unsubscribe = current.state.subscribe(listener);
  const unsubscribeChat = chat.state.subscribe(() => {
    if (chat.conversation !== current) {
      unsubscribe();
      current = chat.conversation;
      unsubscribe = current.state.subscribe(listener);
      listener();
    }
  });
  return () => {
    unsubscribe();
    unsubscribeChat();
  };
}
