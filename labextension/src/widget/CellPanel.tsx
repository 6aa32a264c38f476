/** The panel in a cell's output, served by the application around it where that hasPicoEndpoints. */

import * as React from 'react';
import { conversationMarkdown } from '../model/conversationMarkdown';
import { requestActions, CellActions } from '../view/embedding';
import { Panel } from '../view/Panel';
import { AppActions, Services } from '../view/services';
import { subscribeToConversation } from './subscribeToConversation';

/** What every page can do. */
const PAGE_ACTIONS: AppActions = { exportText: download };

export function CellPanel({ services, frame }: { services: Services; frame: HTMLElement }): React.JSX.Element {
  const { chat } = services;
  const [actions, setHost] = React.useState<CellActions | null>(null);
  React.useEffect(() => {
    // It has a size once it is in the page, where its call can be heard.
    const observer = new ResizeObserver(() => requestActions(frame, { setActions, attach: candidates => chat.attach(candidates) }));
    const setActions = (found: CellActions): void => {
      observer.disconnect();
      setHost(found);
    };
    observer.observe(frame);
    return () => observer.disconnect();
  }, [chat, frame]);
  React.useEffect(() => {
    if (!actions) {
      return undefined;
    }
    const keep = (): void => {
      const { messages } = chat.conversation.state.get();
      if (!messages.some(({ status }) => status === 'streaming')) {
        actions.saveMarkdown(conversationMarkdown(messages));
      }
    };
    keep();
    return subscribeToConversation(chat, keep);
  }, [chat, actions]);
  return <Panel {...services} actions={{ ...PAGE_ACTIONS, ...actions }} />;
}

function download(name: string, text: string): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type: 'text/plain' }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
