/** Makes text of a model safe in every Markdown renderer: HTML is text, images are links, code stays code.
 *
 * marked finds the code. The invariants are those of pico_jupyter/notebook/markdown.py, which does the same and is tested
 * with renderers that let everything through; tests/panel/safe.json has texts for which both must give the same result. */

import { Lexer, Marked, Token, Tokens } from 'marked';
import { blockTokens } from './blocks';
import { Formula, formulaBlocks, isInUrl, readFormula, textBefore } from './formulas';

const LANGUAGE = /^[\p{L}\p{N}_+#.-]+/u;
/** Group 1 could open HTML, code, an image or a formula. Group 2 is a backslash that could open a formula. */
const LIVE = /\\?(<|`|~{3,}|(?<!~)~(?!~)|!(?=\[)|\$)|\\(\\|(?=begin\{))|\\./gsu;
/** The "(" of a link or the ":" of a link definition, if the destination has escapes or a scheme that is not in the list. */
const UNSAFE_LINK = /(?<=\])[(:](?=[\x00-\x20]*(?![\x00-\x20]|(?:https?|ftp|mailto|tel):)[^:&\\/?#()"']*[:&\\])/giu;
/** The start of a link label that has no end in its block. nbconvert would search for the end in a later fence. */
const OPEN_LABEL = /^( {0,3})\[(?=(?:[^[\]\\]|\\.|\\(?![^]))*(?![^]))/gmsu;
/** A sign that would open a display formula inside another formula. TeX ignores a space after it. */
const NESTED_OPENING = /(?<=.)(\\begin(?=\{)|\\\\(?=[[(]))/gsu;
/** The label of text that only looks like a link definition, as in blocks.ts. Renderers would hide it. */
const NO_DEFINITION = /^([ \t>*+.)\d-]*)\[(?=(?:[^[\]\\\n]|\\.)+\]:)(?:(?=\^)|(?![^\]]*\]:\s*<?(?:https?:|mailto:|#|\.{0,2}\/)))/gimu;
/** A line of a formula that Markdown could read as a block. */
const BLOCK_SIGN = /\n[ \t]*(?:\n|[-+*>#=|]|\d+[.)])/;
const MARKUP = /[^\p{L}\p{N}_ ]/gu;

const off = (): undefined => undefined;
const codeParser = new Marked({
  gfm: true,
  tokenizer: {
    ...{ autolink: off, br: off, def: off, del: off, emStrong: off, html: off },
    ...{ lheading: off, link: off, reflink: off, table: off, tag: off, url: off }
  },
  extensions: [
    formulaBlocks(false),
    { name: 'formula', level: 'inline', start: source => source.search(/[\\$]/), tokenizer: inlineToken, renderer: () => '' }
  ]
});

/** Makes `text` safe to render. With "  \n" as `lineEnd`, every line break of the text is rendered. */
export function safeMarkdown(text: string, lineEnd: '\n' | '  \n' = '\n'): string {
  return [...blocks(text.replace(/\r\n?/g, '\n'), lineEnd)].join('\n').replace(/^\n+|\n+$/g, '');
}

/** Code in a fence that is longer than all runs of backticks in the code. */
export function fenced(code: string, language: string): string {
  const longest = Math.max(2, ...Array.from(code.matchAll(/`+/g), run => run[0].length));
  const fence = '`'.repeat(longest + 1);
  return `${fence}${LANGUAGE.exec(language)?.[0] ?? ''}\n${code}\n${fence}`;
}

function* blocks(text: string, lineEnd: string): Generator<string> {
  const lines = text.split('\n');
  let position = 0;
  for (const { token, line, isNested } of leaves(blockTokens(text, codeParser), 0, false)) {
    yield* lines.slice(position, line).map(prose);
    position = line + newlines(token.raw.trimEnd()) + 1;
    if (token.type !== 'code' || (isNested && token.codeBlockStyle === 'indented')) {
      yield prose(lines.slice(line, position).join('\n')).replace(/\n/g, lineEnd);
    } else {
      yield safeCodeBlock(token as Tokens.Code, isNested ? lines[line] : null);
    }
  }
  yield* lines.slice(position).map(prose);
}

interface Leaf {
  readonly token: Token;
  /** The index of the token's first line in the text. */
  readonly line: number;
  /** Whether the token is in a list or a quote. */
  readonly isNested: boolean;
}

/** Yields the innermost blocks. Tokens in lists and quotes have no positions, but all their line breaks, so lines are counted. */
function* leaves(tokens: readonly Token[], start: number, isNested: boolean): Generator<Leaf> {
  let line = start;
  for (const [index, token] of tokens.entries()) {
    if (token.type === 'list') {
      yield* leaves((token as Tokens.List).items, line, true);
    } else if (token.type === 'list_item' || token.type === 'blockquote') {
      yield* leaves((token as Tokens.ListItem | Tokens.Blockquote).tokens, line, true);
    } else if (token.type !== 'space' && token.type !== 'checkbox') {
      yield { token, line, isNested };
    }
    line += newlines(token.raw);
    // marked drops the line break before a formula that follows a quote without ">".
    line += tokens[index + 1]?.type === 'formulaBlock' && !token.raw.endsWith('\n') ? 1 : 0;
  }
}

function newlines(text: string): number {
  return text.split('\n').length - 1;
}

/** `openingLine` is the first line of a fence in a list or a quote. It is null for other code. */
function safeCodeBlock({ text, lang = '' }: Tokens.Code, openingLine: string | null): string {
  if (openingLine === null && lang === 'math' && readFormula(`$$\n${text}\n$$`, '')) {
    return `\n${prose(`$$\n${text}\n$$`)}\n`;
  }
  if (openingLine === null) {
    return `\n${fenced(text.replace(/\n$/, ''), lang)}\n`;
  }
  // The code becomes one line, because renderers that measure indentation differently would end the list item or quote.
  const prefix = openingLine.slice(0, openingLine.search(/`{3}|~{3}/));
  const language = LANGUAGE.exec(lang)?.[0];
  return `${prefix}<pre><code${language ? ` class="language-${language}"` : ''}>${entities(text)}</code></pre>\n`;
}

function prose(text: string): string {
  if (!text.trim()) {
    return '';
  }
  let shown = '';
  let plain = '';
  const flush = (): string => {
    shown += escapeLive(plain);
    plain = '';
    return shown;
  };
  for (const token of new Lexer(codeParser.defaults).inlineTokens(text, []) as readonly Tokens.Generic[]) {
    if (token.type === 'codespan') {
      shown = `${flush()}<code>${entities(token.text)}</code>`;
    } else if (token.formula) {
      const before = flush();
      // Two formulas without a space between them would be read as one.
      shown = (before.endsWith('$') ? `${before} ` : before) + safeFormula(token.formula as Formula, before.slice(before.lastIndexOf('\n') + 1));
    } else {
      plain += token.raw;
    }
  }
  return flush().replace(OPEN_LABEL, '$1&#91;').replace(NO_DEFINITION, '$1&#91;');
}

function escapeLive(text: string): string {
  return text.replace(UNSAFE_LINK, entities).replace(LIVE, (escaped, live?: string, slash?: string, start = 0, linked = '') => {
    if (escaped === '~' && isInUrl(linked.slice(0, start))) {
      return '~';
    }
    if (live) {
      return live === '$' && !isInUrl(linked.slice(0, start)) ? apart('$') : entities(live);
    }
    const opensFormula = /^(?:\\?[([]|begin\{)/.test(linked.slice(start + escaped.length));
    return slash === undefined ? escaped : opensFormula ? apart('\\') : '&#92;';
  });
}

/** A sign in an element of its own, because MathJax searches the text of rendered pages for formulas. */
function apart(sign: string): string {
  return `<span>${entities(sign)}</span>`;
}

/** The token of a formula, of an escaped character or of lone dollar signs. Only the first has a formula. */
function inlineToken(source: string, tokens: readonly Token[]): Tokens.Generic | undefined {
  const formula = readFormula(source, textBefore(tokens));
  const raw = formula?.raw ?? /^(?:\$+|\\[^])/u.exec(source)?.[0];
  return raw === undefined ? undefined : { type: 'formula', raw, formula };
}

/** `lineBefore` is the text before the formula in its line. */
function safeFormula({ tex, delimiter }: Formula, lineBefore: string): string {
  let shown = (delimiter === '$' ? tex.trim() : tex).replace(LIVE, inFormula).replace(UNSAFE_LINK, ' $&');
  if (delimiter !== '$$') {
    shown = `${delimiter}${shown}`.replace(NESTED_OPENING, '$1 ').slice(delimiter.length);
  }
  if ((delimiter === '$$' && lineBefore) || BLOCK_SIGN.test(shown)) {
    shown = shown.replace(/(?<!\\)%[^\n]*/g, '').replace(lineBefore.includes('>') ? /\s*\n[\s>]*/g : /\s*\n\s*/g, ' ');
  }
  // A backslash would escape the closing dollar sign.
  return shown.trim() && `${delimiter}${shown}${shown.endsWith('\\') ? ' ' : ''}${delimiter}`;
}

/** "<" becomes \lt, "\$" a character code. Backticks and other dollar signs are removed. Spaces separate the other signs. */
function inFormula(escaped: string, live?: string): string {
  if (!live) {
    return escaped;
  }
  if (escaped === '\\$') {
    return '\\unicode{36}';
  }
  return live === '<' ? '\\lt ' : [...live.replace(/^[$`]+|[$`]+$/g, ''), ''].join(' ');
}

function entities(text: string): string {
  return text.replace(MARKUP, sign => `&#${sign.codePointAt(0)};`);
}
