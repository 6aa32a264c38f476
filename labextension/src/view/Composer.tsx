/** The input for the next message, with its attachments and the reasoning switch. */

import * as React from 'react';
import { pastesFiles } from '../model/candidates';
import { supportsAttachment, supportsImages, supportsVideo } from '../model/models';
import { Message } from '../model/types';
import { ActBar, useActProblem } from './ActBar';
import { AttachmentList, readBrowserFile } from './Attachments';
import { ContextGauge } from './ContextGauge';
import { Icon } from './icons';
import { IconButton } from './controls';
import { useMentions } from './Mentions';
import { ShareButton, useSharedNotebook } from './ShareButton';
import { ReasoningToggle } from './ReasoningToggle';
import { useObservable, useServices } from './services';

const MAX_HEIGHT = 200;

interface ComposerProps {
  readonly messages: readonly Message[];
  readonly isBusy: boolean;
}

export function Composer({ messages, isBusy }: ComposerProps): React.JSX.Element {
  const { chat, trans, preferences, actions } = useServices();
  const { attachments, mode } = useObservable(chat.state);
  const { sendKey } = useObservable(preferences);
  const attachSharedNotebook = useSharedNotebook();
  const [text, setText] = React.useState('');
  const rejection = useRejection();
  const area = React.useRef<HTMLTextAreaElement>(null);
  const mentions = useMentions(area, text, setText);
  const isBlocked = useActProblem() !== '' && mode === 'act';
  const canSend = !isBusy && !isBlocked && (text.trim() !== '' || attachments.length > 0);

  React.useLayoutEffect(() => {
    if (area.current) {
      area.current.style.height = 'auto';
      area.current.style.height = `${Math.min(area.current.scrollHeight, MAX_HEIGHT)}px`;
    }
  }, [text]);

  const submit = (): void => {
    if (canSend) {
      attachSharedNotebook();
      void chat.send(text);
      setText('');
    }
  };
  const onKeyDown = (event: React.KeyboardEvent<HTMLTextAreaElement>): void => {
    if (mentions.onKeyDown(event)) {
      return;
    }
    const isAccel = event.ctrlKey || event.metaKey;
    const sends = sendKey === 'enter' ? !event.shiftKey : isAccel;
    if (event.key === 'Enter' && sends) {
      event.preventDefault();
      submit();
    } else if (event.key === 'ArrowUp' && text === '') {
      const last = messages.findLast(message => message.role === 'user');
      if (last) {
        event.preventDefault();
        setText(last.content);
      }
    }
  };
  const onPaste = (event: React.ClipboardEvent): void => {
    const { clipboardData } = event;
    const files = [...clipboardData.files];
    const text = clipboardData.getData('text/plain');
    if (pastesFiles(files.map(({ name }) => name), text, clipboardData.getData('text/html'))) {
      event.preventDefault();
      void Promise.all(files.map(readBrowserFile)).then(read => chat.attach(read));
    }
  };

  return (
    <div className="pico-composer">
      <ActBar />
      {actions.sharedNotebook && <ShareButton notebook={actions.sharedNotebook} />}
      {attachments.length > 0 && <AttachmentList attachments={attachments} onRemove={id => chat.detach(id)} />}
      {(rejection || mentions.problem) && (
        <div className="pico-hint" role="status">
          <Icon name="alert" size={14} /> {rejection || mentions.problem}
        </div>
      )}
      {mentions.list}
      <textarea
        ref={area}
        rows={1}
        dir="auto"
        value={text}
        aria-label={trans.__('Message')}
        placeholder={mode === 'act' ? trans.__('What should be done in the notebook?') : trans.__('Ask a local model…')}
        onChange={event => setText(event.target.value)}
        onKeyDown={onKeyDown}
        onPaste={onPaste}
        {...mentions.field}
      />
      <div className="pico-composer-bar">
        <AttachButtons />
        <ReasoningToggle />
        <span className="pico-spacer" />
        <ContextGauge messages={messages} />
        {isBusy ? (
          <button type="button" className="pico-send pico-stop" aria-label={trans.__('Stop')} title={trans.__('Stop (Esc)')} onClick={() => chat.stop()}>
            <Icon name="stop" size={18} />
          </button>
        ) : (
          <button type="button" className="pico-send" aria-label={trans.__('Send')} title={trans.__('Send')} disabled={!canSend} onClick={submit}>
            <Icon name="send" size={18} />
          </button>
        )}
      </div>
    </div>
  );
}

function AttachButtons(): React.JSX.Element {
  const { chat, actions, trans } = useServices();
  useObservable(chat.models.state);
  const input = React.useRef<HTMLInputElement>(null);
  const model = chat.models.chosen;
  const accept = ['text/*', '.py', '.md', '.csv', '.json', ...(supportsImages(model) ? ['image/*'] : []), ...(supportsVideo(model) ? ['video/*'] : [])];
  const label = supportsImages(model) ? trans.__('Attach images or files') : trans.__('Attach files');
  const { selectedCells, pickFiles } = actions;
  return (
    <>
      <IconButton icon="clip" label={label} onClick={() => input.current?.click()} />
      <input
        ref={input}
        type="file"
        multiple
        hidden
        accept={accept.join(',')}
        onChange={event => {
          // Resetting the input empties its list of files, so this copies the list first.
          const files = [...(event.target.files ?? [])];
          event.target.value = '';
          void Promise.all(files.map(readBrowserFile)).then(read => chat.attach(read));
        }}
      />
      {selectedCells && <IconButton icon="cell" label={trans.__('Attach the selected cells')} onClick={() => chat.attach(selectedCells())} />}
      {pickFiles && (
        <IconButton icon="folder" label={trans.__("Attach from the server's files")} onClick={() => void pickFiles().then(picked => chat.attach(picked))} />
      )}
    </>
  );
}

/** Why the last file was not attached; '' if none was rejected. */
function useRejection(): string {
  const { chat, trans } = useServices();
  const { rejected } = useObservable(chat.state);
  const { chosenName } = useObservable(chat.models.state);
  if (!rejected || supportsAttachment(chat.models.chosen, rejected.kind)) {
    return '';
  }
  const reasons = {
    image: trans.__('%1 does not accept images. Choose a model with the Images badge.', chosenName),
    video: trans.__('%1 does not accept videos. Choose a model with the Video badge.', chosenName),
    other: trans.__('%1 is not a text, image or video file.', rejected.name),
    large: trans.__('%1 is too large to attach.', rejected.name),
    text: ''
  };
  return reasons[rejected.kind];
}
