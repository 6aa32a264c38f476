/** Shows attachments, and reads files from the browser as attachments. */

import * as React from 'react';
import { attachmentKind, exceedsLimit, textCandidate } from '../model/candidates';
import { Attachment, AttachmentCandidate } from '../model/types';
import { Icon } from './icons';
import { IconButton } from './controls';
import { useServices } from './services';

const ICONS = { image: 'image', video: 'video', text: 'file' } as const;

interface AttachmentListProps {
  readonly attachments: readonly Attachment[];
  readonly onRemove?: (id: string) => void;
}

export function AttachmentList({ attachments, onRemove }: AttachmentListProps): React.JSX.Element {
  const { trans } = useServices();
  const [openId, setOpenId] = React.useState('');
  const open = attachments.find(({ id }) => id === openId);
  return (
    <>
      <ul className="pico-tray" aria-label={trans.__('Attachments')}>
        {attachments.map(({ id, kind, name, data }) => (
          <li key={id} className="pico-chip">
            {kind === 'image' ? <img src={data} alt="" /> : <Icon name={ICONS[kind]} />}
            {kind === 'text' ? (
              <button
                type="button"
                className="pico-chip-name"
                dir="auto"
                title={trans.__('Show what is sent of %1', name)}
                aria-expanded={id === openId}
                onClick={() => setOpenId(id === openId ? '' : id)}
              >
                {name}
              </button>
            ) : (
              <span className="pico-chip-name" dir="auto" title={name}>
                {name}
              </span>
            )}
            {onRemove && <IconButton icon="close" size={12} label={trans.__('Remove %1', name)} onClick={() => onRemove(id)} />}
          </li>
        ))}
      </ul>
      {open && (
        <pre className="pico-preview" tabIndex={0} dir="auto" aria-label={trans.__('Content of %1', open.name)}>
          {open.data}
        </pre>
      )}
    </>
  );
}

/** Reads a file: an image or a video as a data URL, any other file as text. */
export async function readBrowserFile(file: File): Promise<AttachmentCandidate> {
  const name = file.name || 'clipboard';
  const kind = attachmentKind(file.type);
  if (exceedsLimit(kind, file.size)) {
    return { kind: 'large', name, data: '' };
  }
  return kind === 'text' ? textCandidate(name, await file.text()) : { kind, name, data: await dataUrl(file) };
}

function dataUrl(file: File): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(reader.error ?? new Error(file.name));
    reader.readAsDataURL(file);
  });
}
