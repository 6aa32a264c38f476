/** Classifies files as attachments, by media type and size. */

import { Attachment, AttachmentCandidate } from './types';

/** Limits in bytes. A longer text exceeds the context of every model. */
const MAX_BYTES: Readonly<Record<Attachment['kind'], number>> = { text: 1e6, image: 20e6, video: 40e6 };

export function attachmentKind(mediaType: string): Attachment['kind'] {
  return (/^(image|video)\//.exec(mediaType)?.[1] as 'image' | 'video' | undefined) ?? 'text';
}

export function exceedsLimit(kind: Attachment['kind'], size: number): boolean {
  return size > MAX_BYTES[kind];
}

/** A text attachment, or `other` for binary data. */
export function textCandidate(name: string, data: string): AttachmentCandidate {
  return data.includes('\0') ? { kind: 'other', name, data: '' } : { kind: 'text', name, data };
}
