/** The panel in a cell's output. It uses the actions of the surrounding application, such as JupyterLab, if it offers any. */

import * as React from 'react';
import { conversationMarkdown } from '../model/conversationMarkdown';
import { CellActions, requestActions } from '../view/embedding';
import { Panel } from '../view/Panel';
import { AppActions, Services } from '../view/services';
import { subscribeToConversation } from './subscribeToConversation';

/** The actions of a page without such an application. */
const PAGE_ACTIONS: AppActions = { exportText: download };

export function CellPanel({ services, frame }: { services: Services; frame: HTMLElement }): React.JSX.Element {
  const { chat, assistant } = services;
  const [actions, setAppActions] = React.useState<CellActions | null>(null);
  React.useEffect(() => {
    // An element has a size only once it is in the page, and only then do its events reach the application.
    const observer = new ResizeObserver(() => requestActions(frame, { setActions, attach: candidates => chat.attach(candidates) }));
    const setActions = (found: CellActions): void => {
      observer.disconnect();
      assistant.host.set(found.notebookHost);
      setAppActions(found);
    };
    observer.observe(frame);
    return () => observer.disconnect();
  }, [assistant, chat, frame]);
  React.useEffect(() => {
    if (!actions) {
      return undefined;
    }
    const save = (): void => {
      const { messages } = chat.conversation.state.get();
      if (!messages.some(({ status }) => status === 'streaming')) {
        actions.saveMarkdown(conversationMarkdown(messages));
      }
    };
    save();
    return subscribeToConversation(chat, save);
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
