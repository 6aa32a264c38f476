/** Splits markdown into blocks that can be rendered one by one, while it grows. Knows nothing else of markdown. */

export interface Block {
  readonly kind: 'markdown' | 'code';
  /** Markdown, or the code between the fences. */
  readonly source: string;
  /** What the opening fence says, '' for none. */
  readonly language: string;
}

interface Fence {
  readonly mark: string;
  readonly isNested: boolean;
}

const FENCE = /^(\s*)(`{3,}|~{3,})\s*([^`]*)$/;
const LIST_ITEM = /^\s{0,3}([-*+]|\d{1,9}[.)])(\s|$)/;
const DISPLAY_MATH = /^\s*(\$\$|\\\[)/;

/** Blocks that are finished are the same objects at the next update, so only the last one needs to be rendered again. */
export class BlockSplitter {
  /** The blocks of `text`, which most often is the text of the last update and more. */
  update(text: string): readonly Block[] {
    if (!text.startsWith(this._text)) {
      this._restart();
    }
    this._text = text;
    for (let end = text.indexOf('\n', this._position); end >= 0; end = text.indexOf('\n', this._position)) {
      this._feed(text.slice(this._position, end));
      this._position = end + 1;
    }
    return this._withRest(text.slice(this._position));
  }

  /** The finished blocks, and what the open one would be if the text ended here. */
  private _withRest(rest: string): readonly Block[] {
    const before = { done: this._done, lines: this._lines, fence: this._fence, math: this._math };
    this._done = [...this._done];
    this._lines = [...this._lines];
    if (rest) {
      this._feed(rest);
    }
    this._finish();
    const blocks = this._done;
    ({ done: this._done, lines: this._lines, fence: this._fence, math: this._math } = before);
    return blocks;
  }

  private _feed(line: string): void {
    if (this._fence) {
      this._feedFenced(line, this._fence);
    } else if (this._math) {
      this._lines.push(line);
      this._math = line.includes(this._math) ? '' : this._math;
    } else {
      this._feedProse(line);
    }
  }

  private _feedFenced(line: string, fence: Fence): void {
    this._lines.push(line);
    const trimmed = line.trim();
    const closes = trimmed.length >= fence.mark.length && trimmed === fence.mark[0].repeat(trimmed.length);
    if (closes && fence.isNested) {
      this._fence = null;
    } else if (closes) {
      this._finish();
    }
  }

  private _feedProse(line: string): void {
    const isList = LIST_ITEM.test(this._lines[0] ?? '');
    const followsBlank = this._lines.length > 0 && !this._lines.at(-1)?.trim();
    if (line.trim() && followsBlank && !(isList && (LIST_ITEM.test(line) || /^\s{2,}/.test(line)))) {
      this._finish();
    }
    const fence = FENCE.exec(line);
    if (fence) {
      const isNested = isList && this._lines.length > 0 && fence[1].length >= 2;
      if (!isNested) {
        this._finish();
      }
      this._fence = { mark: fence[2], isNested };
    } else {
      const math = DISPLAY_MATH.exec(line)?.[1];
      const close = math === '$$' ? '$$' : '\\]';
      if (math && !line.slice(line.indexOf(math) + 2).includes(close)) {
        this._math = close;
      }
    }
    this._lines.push(line);
  }

  private _finish(): void {
    const lines = this._lines;
    if (this._fence && !this._fence.isNested) {
      this._done.push(codeBlock(lines, this._fence.mark));
    } else if (lines.some(line => line.trim())) {
      this._done.push({ kind: 'markdown', source: lines.join('\n'), language: '' });
    }
    this._lines = [];
    this._fence = null;
    this._math = '';
  }

  private _restart(): void {
    this._position = 0;
    this._done = [];
    this._lines = [];
    this._fence = null;
    this._math = '';
  }

  private _text = '';
  private _position = 0;
  private _done: Block[] = [];
  private _lines: string[] = [];
  private _fence: Fence | null = null;
  private _math = '';
}

function codeBlock(lines: readonly string[], mark: string): Block {
  const opening = FENCE.exec(lines[0]);
  const last = lines.at(-1)?.trim() ?? '';
  const isClosed = lines.length > 1 && last.length >= mark.length && last === mark[0].repeat(last.length);
  const indent = opening?.[1].length ?? 0;
  const body = lines.slice(1, isClosed ? -1 : undefined).map(line => line.replace(new RegExp(`^\\s{0,${indent}}`), ''));
  return { kind: 'code', source: body.join('\n'), language: opening?.[3].trim().split(/\s/, 1)[0] ?? '' };
}

/** Definitions like `[1]: https://…`, which links anywhere in the text may need. */
export function linkDefinitions(text: string): string {
  return (text.match(/^ {0,3}\[[^\]\n]+\]:[ \t]*\S+.*$/gm) ?? []).join('\n');
}
