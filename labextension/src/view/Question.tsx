/** Shows a message of the user, and an editor for it. */

import * as React from 'react';
import { Conversation } from '../model/conversation';
import { Message } from '../model/types';
import { AttachmentList } from './Attachments';
import { CopyButton, IconButton, useFocus } from './controls';
import { useServices } from './services';

interface QuestionProps {
  readonly message: Message;
  readonly conversation: Conversation;
  readonly isBusy: boolean;
}

export const Question = React.memo(function Question({ message, conversation, isBusy }: QuestionProps) {
  const { trans } = useServices();
  const [isEditing, setEditing] = React.useState(false);
  if (isEditing) {
    return <Editor message={message} conversation={conversation} onClose={() => setEditing(false)} />;
  }
  return (
    <article className="pico-message pico-question" aria-label={trans.__('You')}>
      {!!message.attachments?.length && <AttachmentList attachments={message.attachments} />}
      {message.content && <div className="pico-bubble" dir="auto">{message.content}</div>}
      <div className="pico-actions">
        <CopyButton label={trans.__('Copy message')} text={message.content} />
        <IconButton icon="edit" label={trans.__('Edit and resend')} disabled={isBusy} onClick={() => setEditing(true)} />
        <IconButton icon="trash" label={trans.__('Delete message')} disabled={isBusy} onClick={() => conversation.remove(message.id)} />
      </div>
    </article>
  );
});

function Editor({ message, conversation, onClose }: Omit<QuestionProps, 'isBusy'> & { onClose: () => void }): React.JSX.Element {
  const { trans } = useServices();
  const [draft, setDraft] = React.useState(message.content);
  const area = useFocus<HTMLTextAreaElement>();
  const submit = (): void => {
    onClose();
    void conversation.edit(message.id, draft);
  };
  const onKeyDown = (event: React.KeyboardEvent): void => {
    if (event.key === 'Escape') {
      event.stopPropagation();
      onClose();
    } else if (event.key === 'Enter' && !event.shiftKey) {
      event.preventDefault();
      submit();
    }
  };
  return (
    <article className="pico-message pico-question pico-editing" aria-label={trans.__('Edit your message')}>
      <textarea ref={area} dir="auto" value={draft} aria-label={trans.__('Edit message')} onChange={event => setDraft(event.target.value)} onKeyDown={onKeyDown} />
      <div className="pico-edit-buttons">
        <button type="button" className="pico-button" onClick={onClose}>
          {trans.__('Cancel')}
        </button>
        <button type="button" className="pico-button pico-primary" disabled={!draft.trim()} onClick={submit}>
          {trans.__('Send')}
        </button>
      </div>
    </article>
  );
}
