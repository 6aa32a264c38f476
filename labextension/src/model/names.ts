/** Makes titles and file names from text that people write. */

/** Bytes of a file name without its ending. File systems allow 255, and a number can follow. */
const MAX_BYTES = 180;
/** Names of devices on Windows. */
const RESERVED = /^(?:aux|con|nul|prn|com\d|lpt\d)(?:\.|$)/i;
/** Separators, signs that Windows forbids, signs with a meaning in URLs, and invisible signs such as those for directions. */
const FORBIDDEN = /[/\\:*?"<>|#%\p{Cc}\p{Zl}\p{Zp}\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufffd]+/gu;

/** The user-perceived characters of a text. An emoji of several code points is one. */
function characters(text: string): string[] {
  return 'Segmenter' in Intl ? Array.from(new Intl.Segmenter().segment(text), ({ segment }) => segment) : Array.from(text);
}

/** The text without halves of characters, which no file and no URL can hold. */
export function wellFormed(text: string): string {
  return text.replace(/[\ud800-\udfff]/gu, '\ufffd');
}

/** At most `limit` characters, with an ellipsis if the text is cut. */
export function shorten(text: string, limit: number): string {
  // The first characters suffice. A longer one is no word of a person.
  const found = characters(wellFormed(text.slice(0, limit * 20)));
  return found.length > limit || text.length > limit * 20 ? `${found.slice(0, limit - 1).join('').trimEnd()}…` : found.join('');
}

/** A file name for a conversation, valid on every system and visible in Jupyter. `ending` starts with a dot. */
export function exportName(title: string, ending: string): string {
  const stem = cutBytes(wellFormed(title).normalize('NFC').replace(FORBIDDEN, ' ').replace(/\s+/g, ' ').replace(/^[\s.~]+/, '')).replace(/[\s.]+$/, '');
  return `${RESERVED.test(stem) ? `${stem.replace('.', ' ')} conversation` : stem || 'conversation'}${ending}`;
}

/** As many whole characters as fit into a file name. */
function cutBytes(text: string): string {
  const encoder = new TextEncoder();
  let bytes = 0;
  const fitting = characters(text.slice(0, MAX_BYTES)).filter(character => (bytes += encoder.encode(character).length) <= MAX_BYTES);
  return fitting.join('');
}
