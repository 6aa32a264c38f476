/** Splits Markdown into blocks that are rendered one by one while the text grows. The marked library finds the blocks. */

import { Lexer, Marked, Token, Tokenizer, Tokens } from 'marked';
import { formulaBlocks, readFormulaBlock } from './formulas';

/** The destinations of links by their labels in lower case. Links in all blocks may refer to them. */
export type LinkDefinitions = Readonly<Record<string, Pick<Tokens.Def, 'href' | 'title'>>>;

export interface Block {
  /** `definitions`: link definitions, which render to nothing. */
  readonly kind: 'markdown' | 'code' | 'definitions';
  /** Markdown, or the code between the fences. */
  readonly source: string;
  /** The first word of the opening fence, or ''. */
  readonly language: string;
  /** The link definitions in this block, without its code. */
  readonly definitions: LinkDefinitions;
}

const NO_DEFINITIONS: LinkDefinitions = {};
const DESTINATION = /^(?:https?:|mailto:|#|\.{0,2}\/)/i;

/** marked's tokenizer for link definitions, without text that only looks like one: footnotes, and lines such as "[INFO]: done". */
export function definition(this: Tokenizer, source: string): Tokens.Def | undefined {
  const token = Tokenizer.prototype.def.call(this, source);
  return token && !token.tag.startsWith('^') && DESTINATION.test(token.href) ? token : undefined;
}

const blockParser = new Marked({ gfm: true, tokenizer: { def: definition }, extensions: [formulaBlocks(true)] });

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
    const kind = token.type === 'def' ? 'definitions' : 'markdown';
    return [{ kind, source: token.raw.replace(/\n+$/, ''), language: '', definitions: mergeDefinitions(definitionsIn(token)) }];
  }
  const { text, lang = '', raw } = token as Tokens.Code;
  const formula = `$$\n${text}\n$$`;
  if (lang === 'math' && /\n *(?:`{3,}|~{3,})\s*$/.test(raw) && readFormulaBlock(formula)) {
    return [{ kind: 'markdown', source: formula, language: '', definitions: NO_DEFINITIONS }];
  }
  return [{ kind: 'code', source: text.replace(/\n$/, ''), language: lang.split(/\s/, 1)[0], definitions: NO_DEFINITIONS }];
}

/** The link definitions in a block token, including those in lists and quotes. */
function definitionsIn(token: Token): LinkDefinitions[] {
  if (token.type === 'def') {
    const { tag, href, title } = token as Tokens.Def;
    return [{ [tag]: { href, title } }];
  }
  const { items, tokens } = token as { items?: readonly Token[]; tokens?: readonly Token[] };
  return (items ?? tokens ?? []).flatMap(definitionsIn);
}

/** All definitions. The first definition of a label wins. */
export function mergeDefinitions(all: readonly LinkDefinitions[]): LinkDefinitions {
  return all.length ? Object.assign({}, ...[...all].reverse()) as LinkDefinitions : NO_DEFINITIONS;
}
