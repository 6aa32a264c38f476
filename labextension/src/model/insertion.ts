/** Decides where code is inserted into the text of a cell. */

export interface Edit {
  /** The range of the text that is replaced. */
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

/** Inserts `code` on lines of its own, after the line with the cursor, at that line's indentation. A selection is replaced. */
export function insertion(source: string, start: number, end: number, code: string): Edit {
  if (start !== end) {
    return { start: Math.min(start, end), end: Math.max(start, end), text: code };
  }
  const lineStart = source.lastIndexOf('\n', start - 1) + 1;
  const lineEnd = source.indexOf('\n', start) < 0 ? source.length : source.indexOf('\n', start);
  const line = source.slice(lineStart, lineEnd);
  const indent = /^[ \t]*/.exec(line)?.[0] ?? '';
  const lines = code.replace(/\n+$/, '').replace(/^(?=.)/gm, indent);
  if (line === indent) {
    return { start: lineStart, end: lineEnd, text: lines };
  }
  return start === lineStart
    ? { start, end: start, text: `${lines}\n` }
    : { start: lineEnd, end: lineEnd, text: `\n${lines}` };
}
