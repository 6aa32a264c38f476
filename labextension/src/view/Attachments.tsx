/** What is attached: shown as chips, read from what the browser hands over. */

import * as React from 'react';
import { Attachment, NewAttachment } from '../model/types';
import { Icon } from './icons';
import { IconButton } from './parts';
import { useServices } from './services';

const ICONS = { image: 'image', video: 'video', text: 'file' } as const;

interface TrayProps {
  readonly attachments: readonly Attachment[];
  readonly onRemove?: (id: string) => void;
}

export function Tray({ attachments, onRemove }: TrayProps): React.JSX.Element {
  const { trans } = useServices();
  return (
    <ul className="pico-tray" aria-label={trans.__('Attachments')}>
      {attachments.map(({ id, kind, name, data }) => (
        <li key={id} className="pico-chip">
          {kind === 'image' ? <img src={data} alt="" /> : <Icon name={ICONS[kind]} />}
          <span className="pico-chip-name" title={name}>
            {name}
          </span>
          {onRemove && <IconButton icon="close" size={12} label={trans.__('Remove %1', name)} onClick={() => onRemove(id)} />}
        </li>
      ))}
    </ul>
  );
}

/** Pictures and clips as data URLs, everything else as text. */
export async function readFile(file: File): Promise<NewAttachment> {
  const kind = file.type.startsWith('image/') ? 'image' : file.type.startsWith('video/') ? 'video' : 'text';
  const data = kind === 'text' ? await file.text() : await dataUrl(file);
  return { kind, name: file.name || 'clipboard', data };
}

function dataUrl(file: File): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(reader.error ?? new Error(file.name));
    reader.readAsDataURL(file);
  });
}
