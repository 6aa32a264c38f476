/** Hears of everything that happens in a chat's open conversation, whichever that is. */

import { Chat } from '../model/chat';

export function subscribeToConversation(chat: Chat, listener: () => void): () => void {
  let followed = chat.conversation;
  let unfollow = followed.state.subscribe(listener);
  const unfollowChat = chat.state.subscribe(() => {
    if (chat.conversation !== followed) {
      unfollow();
      followed = chat.conversation;
      unfollow = followed.state.subscribe(listener);
      listener();
    }
  });
  return () => {
    unfollow();
    unfollowChat();
  };
}
