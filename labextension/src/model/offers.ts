/** What files are to a model. Pure. */

import { Attachment, Offer } from './types';

/** More bytes than these are not attached. No context holds a longer text. */
const MOST: Readonly<Record<Attachment['kind'], number>> = { text: 1e6, image: 20e6, video: 40e6 };

export function kindOf(mediaType: string): Attachment['kind'] {
  return (/^(image|video)\//.exec(mediaType)?.[1] as 'image' | 'video' | undefined) ?? 'text';
}

export function isLarge(kind: Attachment['kind'], size: number): boolean {
  return size > MOST[kind];
}

/** Text, if it is text. */
export function offerText(name: string, data: string): Offer {
  return data.includes('\0') ? { kind: 'other', name, data: '' } : { kind: 'text', name, data };
}
