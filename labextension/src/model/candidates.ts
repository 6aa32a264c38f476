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

/** Whether a paste attaches the files on the clipboard. Spreadsheets copy cells as text, HTML and an image; then the text counts. */
export function pastesFiles(names: readonly string[], text: string, html: string): boolean {
  const lines = text.split(/[\r\n]+/).map(line => line.trim()).filter(Boolean);
  // File managers add the names or the addresses of the files, browsers the address of an image.
  const isAddress = (line: string): boolean => names.some(name => line.endsWith(name) || decoded(line).endsWith(name));
  return names.length > 0 && (lines.every(isAddress) || isOnlyImage(html));
}

function decoded(address: string): string {
  try {
    return decodeURIComponent(address);
  } catch {
    return address;
  }
}

function isOnlyImage(html: string): boolean {
  return /^<img\b[^>]*>$/i.test(html.replace(/<!--[^]*?-->|<(?!img\b)[^>]*>/gi, '').trim());
}
