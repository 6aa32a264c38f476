/** Splits Markdown into blocks that are rendered one by one while the text grows. The marked library finds the blocks. */

import { Lexer, Marked, Token, Tokens } from 'marked';

export interface Block {
  /** `definitions`: link definitions. They render to nothing, and links in all blocks may refer to them. */
  readonly kind: 'markdown' | 'code' | 'definitions';
  /** Markdown, or the code between the fences. */
  readonly source: string;
  /** The first word of the opening fence, or ''. */
  readonly language: string;
}

/** A display formula. If it is not closed yet, it extends to the end of the text, so that its empty lines do not split it. */
const OPEN_MATH = /^ {0,3}(?:\$\$[^]*?(?:\$\$|$)|\\\[[^]*?(?:\\\]|$))[^\n]*(?:\n|$)/;
const blockParser = new Marked({
  gfm: true,
  extensions: [
    {
      name: 'math',
      level: 'block',
      start: source => /(?<=^|\n) {0,3}(?:\$\$|\\\[)/.exec(source)?.index,
      tokenizer: source => {
        const raw = OPEN_MATH.exec(source)?.[0];
        return raw ? { type: 'math', raw } : undefined;
      },
      renderer: () => ''
    }
  ]
});

/** Returns the same objects for blocks that have not changed, so that React does not render them again. */
export class BlockSplitter {
  /** The blocks of `text`, which usually starts with the text of the last update. */
  update(text: string): readonly Block[] {
    const normalized = text.includes('\r') ? text.replace(/\r\n?/g, '\n') : text;
    if (!normalized.startsWith(this._text)) {
      this._finished = 0;
      this._position = 0;
    }
    this._text = normalized;
    const rest = normalized.slice(this._position);
    const tokens = blockTokens(rest, blockParser);
    const finished = tokens.slice(0, countFinished(tokens, rest.lastIndexOf('\n') + 1));
    const fresh = tokens.flatMap(toBlocks).map((block, index) => unchanged(block, this._blocks[this._finished + index]));
    this._blocks = [...this._blocks.slice(0, this._finished), ...fresh];
    this._finished += finished.flatMap(toBlocks).length;
    this._position += finished.reduce((length, { raw }) => length + raw.length, 0);
    return this._blocks;
  }

  private _text = '';
  private _blocks: readonly Block[] = [];
  /** The number of leading blocks that appended text cannot change, and the position in the text where they end. */
  private _finished = 0;
  private _position = 0;
}

function unchanged(block: Block, before: Block | undefined): Block {
  const isSame = before?.source === block.source && before.kind === block.kind && before.language === block.language;
  return isSame ? before : block;
}

/** The number of leading tokens that appended text cannot change: those before the last token that begins in a complete line. */
function countFinished(tokens: readonly Token[], lastLineStart: number): number {
  let count = 0;
  let position = 0;
  tokens.forEach(({ type, raw }, index) => {
    count = type !== 'space' && position < lastLineStart ? index : count;
    position += raw.length;
  });
  return count;
}

/** The block tokens of a text. Deep nesting, for example a long run of ">", overflows marked's stack. Such a text is one paragraph. */
export function blockTokens(text: string, parser: Marked): readonly Token[] {
  try {
    return new Lexer(parser.defaults).blockTokens(text, []);
  } catch (error) {
    if (error instanceof RangeError) {
      return [{ type: 'paragraph', raw: text, text, tokens: [] }];
    }
    throw error;
  }
}

function toBlocks(token: Token): Block[] {
  if (token.type === 'space') {
    return [];
  }
  if (token.type !== 'code' || token.codeBlockStyle === 'indented') {
    return [{ kind: token.type === 'def' ? 'definitions' : 'markdown', source: token.raw.replace(/\n+$/, ''), language: '' }];
  }
  const { text, lang = '' } = token as Tokens.Code;
  return [{ kind: 'code', source: text.replace(/\n$/, ''), language: lang.split(/\s/, 1)[0] }];
}
