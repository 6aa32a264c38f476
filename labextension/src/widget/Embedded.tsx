/** The panel in a cell's output, served by the application around it where that answers. */

import * as React from 'react';
import { conversationMarkdown } from '../model/markdown';
import { callForHost, CellHost } from '../view/embedding';
import { Panel } from '../view/Panel';
import { Host, Services } from '../view/services';
import { followConversation } from './follow';

/** What every page can do. */
const PLAIN: Host = { exportText: download };

export function Embedded({ services, frame }: { services: Services; frame: HTMLElement }): React.JSX.Element {
  const { chat } = services;
  const [host, setHost] = React.useState<CellHost | null>(null);
  React.useEffect(() => {
    // It has a size once it is in the page, where its call can be heard.
    const observer = new ResizeObserver(() => callForHost(frame, { adopt, attach: offers => chat.attach(offers) }));
    const adopt = (found: CellHost): void => {
      observer.disconnect();
      setHost(found);
    };
    observer.observe(frame);
    return () => observer.disconnect();
  }, [chat, frame]);
  React.useEffect(() => {
    if (!host) {
      return undefined;
    }
    const keep = (): void => {
      const { messages } = chat.conversation.state.get();
      if (!messages.some(({ status }) => status === 'streaming')) {
        host.keepMarkdown(conversationMarkdown(messages));
      }
    };
    keep();
    return followConversation(chat, keep);
  }, [chat, host]);
  return <Panel {...services} host={{ ...PLAIN, ...host }} />;
}

function download(name: string, text: string): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type: 'text/plain' }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
