/** Finds formulas in Markdown. pico_jupyter/notebook/formulas.py has the same rule; tests/panel/formulas.json tests both.
 *
 * - Code binds tighter than mathematics: a formula has no backtick and no fence.
 * - An opening sign has no letter or digit before it, a closing dollar sign has none after it. Scripts without blanks
 *   between words, for example Chinese, are exempt. `$` has no blank inside.
 * - A subscript, a superscript or a command alone is a formula inside a word too, for example CO$_2$ and n$\times$m.
 * - Text that reads as prose is no formula, for example `$5 or 10$` and `\[optional\]`. */

import type { Token, Tokens, TokenizerAndRendererExtension } from 'marked';

export interface Formula {
  readonly raw: string;
  readonly tex: string;
  /** `$$` for a display formula, `$` for one in a line, '' for an environment, which has its own signs. */
  readonly delimiter: '$$' | '$' | '';
}

/** Scripts without blanks between words. */
const UNSPACED = '\\u0e00-\\u0eff\\u1000-\\u109f\\u1780-\\u17ff\\u2e80-\\u9fff\\uac00-\\ud7ff\\uf900-\\ufaff\\uff00-\\uffef\\u{20000}-\\u{3ffff}';
const WORD_SIGN = `(?![${UNSPACED}])[\\p{L}\\p{N}]`;
const WORD_BEFORE = new RegExp(`(?:\\$|${WORD_SIGN})$`, 'u');
const MAX_URL = 300;
const IN_URL = /(?:\]\(|\]:\s*|:\/\/)[^\s()]*$/;
const PLAIN_WORD = /(?<![\\\p{L}])(?!(?:cos|exp|lim|log|max|min|mod|sin|tan)(?!\p{L}))\p{L}{3,}(?![\p{L}(])/u;
/** Words between blanks, the name of a variable of a shell, or a script without blanks. */
const PROSE = new RegExp(`^[A-Za-z_]\\w{2,}[,;:.]|^[A-Z][A-Z0-9_]{2,}\\W|(?<=[\\s(])\\p{L}{2,}(?=\\s)|[${UNSPACED}]`, 'u');
/** Signs that only formulas have. */
const STRONG = /\\[a-zA-Z]|\^|_\{|(?<![\p{L}\p{N}])\p{L}_[\p{L}\p{N}]|\s(?:[=<>+*/≤≥≈-])\s/u;
const FENCE_LINE = /\n[ \t]*~{3,}/;
const EMPTY_LINE = /\n[ \t]*\n/;
/** The closing dollar sign may be followed by the ending of a word such as "nth". */
const AFTER = `(?:(?=(?:th|st|nd|rd|s)(?!${WORD_SIGN}))|(?!${WORD_SIGN}|[$({]))`;
/** What follows `_` or `^`, in braces if it is longer than two signs. */
const SCRIPT = '(?:\\{(?:[^{}$`\\n]|\\{[^{}$`\\n]*\\}){1,99}\\}|\\\\[a-zA-Z]{1,20}(?:\\{[^{}$`\\n]*\\})?|[a-zA-Z0-9+-]{1,2})';
/** Formulas are limited in length, so that the search stays linear. */
const FORMULA = new RegExp(
  [
    `^\\$\\$(?!\\s*[,;:!?)'"/])(?<display>(?:\\\\.|[^\\\\\`$]|\\$(?!\\$)){1,3999}?)\\$\\$${AFTER}`,
    '^\\\\\\[(?<bracketed>(?:\\\\[^[\\]]|[^\\\\`]){1,3999}?)\\\\\\]',
    `^\\$(?<script>_${SCRIPT}(?:\\^${SCRIPT})?|\\^${SCRIPT}(?:_${SCRIPT})?)\\$(?![\\p{N}$_({])`,
    '^\\$(?<command>\\\\[a-zA-Z]{2,20})\\$(?![$({])',
    `^\\$(?![\\s$.,;:!?)'"/])(?<inline>(?:\\\\[^\\n]|[^\\\\\`$\\n]){1,999}?)(?<!\\s)\\$${AFTER}`,
    '^\\\\\\((?<parenthesised>(?:\\\\[^()]|[^\\\\`]){1,999}?)\\\\\\)',
    '^(?<environment>\\\\begin\\{(?<name>[a-zA-Z]*\\*?)\\}[^`]{0,3999}?\\\\end\\{\\k<name>\\})'
  ].join('|'),
  'su'
);
const BLOCK_OPENING = /^ {0,3}(?=\$\$|\\\[|\\begin\{)/;
const BLOCK_ENDING = /^[ \t]*([.,;:!?]?)[ \t]*(?:\n|$)/;
const OPEN_BLOCK = /^ {0,3}(?:\$\$(?![^]*\$\$)|\\\[(?![^]*\\\])|\\begin\{(?<name>[a-zA-Z]*\*?)\}(?![^]*\\end\{\k<name>\}))(?<body>[^`]{0,3999})$/;
const LINE_OF_OPENING = /(?<=\n) {0,3}(?:\$\$|\\\[|\\begin\{)/g;

/** The formula at the start of `source`, or null. `before` is the text before it. */
export function readFormula(source: string, before: string): Formula | null {
  const found = FORMULA.exec(source);
  if (!found?.groups || isInUrl(before)) {
    return null;
  }
  const insideWords = found.groups.script ?? found.groups.command;
  if (insideWords && !before.endsWith('$')) {
    return { raw: found[0], tex: insideWords, delimiter: '$' };
  }
  if (WORD_BEFORE.test(before.slice(-2))) {
    return null;
  }
  const { display, bracketed, inline, parenthesised, environment } = found.groups;
  const tex = display ?? bracketed ?? inline ?? parenthesised ?? '';
  const isBetweenDollars = display !== undefined || inline !== undefined;
  if (environment === undefined && !(isBetweenDollars ? isFormula(tex) : isBracketedFormula(tex, bracketed !== undefined))) {
    return null;
  }
  const delimiter = environment !== undefined ? '' : display !== undefined || bracketed !== undefined ? '$$' : '$';
  return FENCE_LINE.test(found[0]) ? null : { raw: found[0], tex: environment ?? tex, delimiter };
}

/** Whether a text ends in the destination of a link. */
export function isInUrl(text: string): boolean {
  return IN_URL.test(text.slice(-MAX_URL));
}

/** Whether a text between dollar signs is a formula and not prose. */
function isFormula(tex: string): boolean {
  return /[\p{L}\p{N}\\]/u.test(tex) && (STRONG.test(tex) || tex.includes('=') || !PROSE.test(tex));
}

/** Whether a text between escaped brackets or parentheses is a formula. Such brackets can be text, for example `\[x\]`. */
function isBracketedFormula(tex: string, isDisplayed: boolean): boolean {
  if (!/[\p{L}\p{N}\\]/u.test(tex)) {
    return false;
  }
  return STRONG.test(tex) || (!PLAIN_WORD.test(tex) && (!isDisplayed || /^\s|[=<>+]/.test(tex)));
}

/** The display formula whose lines begin at the start of `source`, or null. Only a formula on lines of its own has empty lines. */
export function readFormulaBlock(source: string): Formula | null {
  const indent = BLOCK_OPENING.exec(source)?.[0];
  const formula = indent === undefined ? null : readFormula(source.slice(indent.length), '');
  const ending = formula && BLOCK_ENDING.exec(source.slice((indent ?? '').length + formula.raw.length));
  if (!formula || !ending || (EMPTY_LINE.test(formula.raw) && !isOpeningAlone(formula.raw))) {
    return null;
  }
  return { ...formula, raw: `${indent}${formula.raw}${ending[0]}`, tex: formula.tex + ending[1] };
}

/** Whether the text can be the beginning of such a formula, whose end is still being written. */
function isOpenBlock(source: string): boolean {
  const body = OPEN_BLOCK.exec(source)?.groups?.body;
  return body !== undefined && !FENCE_LINE.test(body) && (!EMPTY_LINE.test(body) || isOpeningAlone(source.trimStart()));
}

function isOpeningAlone(raw: string): boolean {
  return /^(?:\$\$|\\\[|\\begin\{[^}\n]*\})[ \t]*\n/.test(raw);
}

/** The extension of marked for display formulas on lines of their own. With `isGrowing` an open one extends to the end. */
export function formulaBlocks(isGrowing: boolean, render: (formula: Formula) => string = () => ''): TokenizerAndRendererExtension {
  const read = (source: string): Tokens.Generic | undefined => {
    const formula = readFormulaBlock(source);
    if (formula) {
      return { type: 'formulaBlock', raw: formula.raw, formula };
    }
    return isGrowing && isOpenBlock(source) ? { type: 'formulaBlock', raw: source } : undefined;
  };
  return {
    name: 'formulaBlock',
    level: 'block',
    start: source => {
      const end = source.search(EMPTY_LINE);
      const lines = end < 0 ? source : source.slice(0, end);
      return [...lines.matchAll(LINE_OF_OPENING)].find(({ index }) => read(source.slice(index)))?.index;
    },
    tokenizer: read,
    renderer: token => render(token.formula as Formula)
  };
}

/** The end of the text before the next token. */
export function textBefore(tokens: readonly Token[]): string {
  let text = '';
  for (let index = tokens.length - 1; index >= 0 && text.length < MAX_URL; index -= 1) {
    text = tokens[index].raw + text;
  }
  return text;
}

/** Replaces formulas by signs without a meaning, so that a `*` inside a formula ends no emphasis. */
export function maskFormulas(source: string): string {
  let masked = '';
  let position = 0;
  for (const { index } of source.matchAll(/\\[([b]|\\.|\$+/g)) {
    const formula = index < position ? null : readFormula(source.slice(index), source.slice(0, index));
    if (formula) {
      masked += source.slice(position, index) + 'a'.repeat(formula.raw.length);
      position = index + formula.raw.length;
    }
  }
  return masked + source.slice(position);
}
