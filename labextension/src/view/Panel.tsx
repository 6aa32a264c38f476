/** The panel: header, messages and composer. */

import * as React from 'react';
import { ConversationState } from '../model/conversation';
import { readBrowserFile } from './Attachments';
import { Composer } from './Composer';
import { hideCompositionKeys } from './composition';
import { ExternalApproval } from './ExternalApproval';
import { DownloadStrip } from './DownloadStrip';
import { GetModels, GetModelsContext } from './GetModels';
import { History } from './History';
import { Icon } from './icons';
import { Menu } from './Menu';
import { ModelPicker } from './ModelPicker';
import { IconButton } from './controls';
import { Services, ServicesProvider, useObservable, useServices } from './services';
import { MessageList } from './MessageList';

export function Panel(services: Services): React.JSX.Element {
  return (
    <ServicesProvider value={services}>
      <Layout />
    </ServicesProvider>
  );
}

function Layout(): React.JSX.Element {
  const { chat, external, trans } = useServices();
  const { conversation } = useObservable(chat.state);
  const state = useObservable(conversation.state);
  const isAnswering = chat.isAnswering(state);
  const [isGetting, setGetting] = React.useState(false);
  const section = React.useRef<HTMLElement>(null);
  React.useEffect(() => void chat.models.refresh(), [chat]);
  const wasGetting = React.useRef(false);
  React.useEffect(() => {
    // The field cannot have the focus before the view that covers it is closed.
    if (wasGetting.current && !isGetting) {
      focusMessage(section.current);
    }
    wasGetting.current = isGetting;
  }, [isGetting]);
  const onKeyDown = (event: React.KeyboardEvent): void => {
    if (event.key === 'Escape' && isAnswering) {
      event.preventDefault();
      event.stopPropagation();
      chat.stop();
    }
  };
  const startConversation = (): void => {
    chat.startConversation();
    focusMessage(section.current);
  };
  const openGetModels = React.useCallback(() => setGetting(true), []);
  const { isDragging, ...drop } = useDrop(files => void Promise.all(files.map(readBrowserFile)).then(read => chat.attach(read)));
  return (
    <section
      className={`pico-chat${isDragging ? ' pico-drag' : ''}${isGetting ? ' pico-is-getting' : ''}`}
      ref={section}
      aria-label={trans.__('Chat with a local model')}
      onKeyDownCapture={hideCompositionKeys}
      onKeyDown={onKeyDown}
      {...drop}
    >
      <GetModelsContext.Provider value={openGetModels}>
        <header className="pico-header">
          <ModelPicker />
          <span className="pico-spacer" />
          {chat.library && <History library={chat.library} />}
          <IconButton icon="plus" label={trans.__('New conversation')} disabled={!state.messages.length} onClick={startConversation} />
          <Menu />
        </header>
        <Banner />
        <DownloadStrip onOpen={openGetModels} />
        <MessageList key={state.id} conversation={conversation} state={state} isAnswering={isAnswering} />
        {external && <ExternalApproval calls={external} />}
        <Composer messages={state.messages} isBusy={isAnswering} />
        <Announcement state={state} />
        {isGetting && <GetModels onClose={() => setGetting(false)} />}
      </GetModelsContext.Provider>
    </section>
  );
}

function focusMessage(panel: HTMLElement | null): void {
  panel?.querySelector<HTMLElement>('.pico-composer textarea')?.focus();
}

interface Drop {
  readonly isDragging: boolean;
  readonly onDragOver: (event: React.DragEvent) => void;
  readonly onDragLeave: (event: React.DragEvent) => void;
  readonly onDrop: (event: React.DragEvent) => void;
}

/** Accepts files that are dropped anywhere on the panel. */
function useDrop(onFiles: (files: readonly File[]) => void): Drop {
  const [isDragging, setDragging] = React.useState(false);
  return {
    isDragging,
    onDragOver: event => {
      if (event.dataTransfer.types.includes('Files')) {
        event.preventDefault();
        setDragging(true);
      }
    },
    onDragLeave: event => {
      if (!event.currentTarget.contains(event.relatedTarget as Node | null)) {
        setDragging(false);
      }
    },
    onDrop: event => {
      setDragging(false);
      const files = [...event.dataTransfer.files];
      if (files.length) {
        event.preventDefault();
        onFiles(files);
      }
    }
  };
}

/** Shows an error of the server or of saving. */
function Banner(): React.JSX.Element | null {
  const { chat, trans } = useServices();
  const { problem } = useObservable(chat.models.state);
  const { saveError } = useObservable(chat.state);
  const text = problem
    ? trans.__('The models cannot be reached: %1', problem)
    : saveError && trans.__('This conversation is not being saved: %1', saveError);
  if (!text) {
    return null;
  }
  return (
    <div className="pico-banner" role="alert">
      <Icon name="alert" />
      <span>{text}</span>
      {problem && (
        <button type="button" className="pico-link" onClick={() => void chat.models.refresh()}>
          {trans.__('Try again')}
        </button>
      )}
    </div>
  );
}

/** Announces the start and the end of an answer to screen readers, but not its text. */
function Announcement({ state }: { state: ConversationState }): React.JSX.Element {
  const { trans } = useServices();
  const last = state.messages.at(-1);
  const words: Partial<Record<string, string>> = {
    streaming: trans.__('The model is answering'),
    done: last?.role === 'assistant' ? trans.__('Answer complete') : '',
    stopped: trans.__('Stopped'),
    failed: trans.__('The model could not answer')
  };
  return (
    <div className="pico-for-readers" role="status" aria-live="polite">
      {words[last?.status ?? ''] ?? ''}
    </div>
  );
}
