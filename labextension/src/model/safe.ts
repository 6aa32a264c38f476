/** Text of a model made safe to show anywhere: its HTML is text, its pictures are links, its code is code. Pure.
 * The same as pico_jupyter/notebook/markdown.py, which is tested with renderers that let everything through.
 *
 * Invariant: of what the model wrote, a "<" is left as it is only inside fences that this module writes, at the beginning
 * of a line and behind an empty one, where every renderer sees a fence. All other backticks and tildes that could open
 * code are written as entities, so no renderer can be of another opinion about where code begins and ends. */

const FENCE = /^([ \t]*)((?:[-*+]|\d{1,9}[.)])[ \t]+)?(`{3,}|~{3,})[ \t]*([^`]*)$/;
// Longer ones are taken for prose, so that no text takes long.
const SPAN = new RegExp(
  [
    /(?<![`\\])(?<ticks>`+)(?!`)(?<code>[\s\S]{1,999}?)(?<!`)\k<ticks>(?!`)/,
    /(?<!\\)\$\$(?<block>[\s\S]{1,999}?)\$\$/,
    /\\\[(?<bracketed>[\s\S]{1,999}?)\\\]/,
    /(?<![\\$])\$(?![\s$])(?<inline>[^$\n]{1,999}?)(?<![\s\\])\$(?![\d$])/,
    /\\\((?<parenthesised>[\s\S]{1,999}?)\\\)/
  ]
    .map(({ source }) => source)
    .join('|'),
  'g'
);
const LANGUAGE = /^[\p{L}\p{N}_+#.-]+/u;
/** What could open HTML, code, a picture or a formula; a backslash in front would escape the "&" of the entity. */
const LIVE = /\\?(<|`|~{3,}|!(?=\[)|\$)/g;
const MARKUP = /[^\p{L}\p{N}_ ]/gu;

/** `text`, safe to render. With `lineEnd` "  \n" a line ends where it ended, as in a poem. */
export function safeMarkdown(text: string, lineEnd: '\n' | '  \n' = '\n'): string {
  return [...blocks(text.replace(/\r\n?/g, '\n').split('\n'), lineEnd)].join('\n').replace(/^\n+|\n+$/g, '');
}

/** Code in a fence that nothing in it ends. */
export function fenced(code: string, language: string): string {
  const longest = Math.max(2, ...Array.from(code.matchAll(/`+/g), run => run[0].length));
  const fence = '`'.repeat(longest + 1);
  return `${fence}${LANGUAGE.exec(language)?.[0] ?? ''}\n${code}\n${fence}`;
}

function* blocks(lines: readonly string[], lineEnd: string): Generator<string> {
  let paragraph: string[] = [];
  for (let index = 0; index < lines.length; ) {
    const line = lines[index];
    const opening = FENCE.exec(line);
    index += 1;
    if (!opening && line.trim()) {
      paragraph.push(line);
      continue;
    }
    if (paragraph.length) {
      yield prose(paragraph, lineEnd);
      paragraph = [];
    }
    if (!opening) {
      yield '';
    } else {
      const end = closing(lines, index, opening[3]);
      yield codeBlock(opening, lines.slice(index, end));
      index = end + 1;
    }
  }
  if (paragraph.length) {
    yield prose(paragraph, lineEnd);
  }
}

/** Where the fence ends: at a line of marks like its own, or with the text. */
function closing(lines: readonly string[], start: number, mark: string): number {
  const found = lines.findIndex((line, index) => {
    const marks = line.trim();
    return index >= start && marks.length >= mark.length && marks === mark[0].repeat(marks.length);
  });
  return found < 0 ? lines.length : found;
}

function codeBlock([, indent, marker = '', , info]: RegExpExecArray, lines: readonly string[]): string {
  if (!indent && !marker) {
    return `\n${fenced(lines.join('\n'), info)}\n`;
  }
  // Code in a list item. On one line, so that it stays there however a renderer counts blanks.
  const prefix = indent + marker;
  const margin = new RegExp(`^ {0,${expandTabs(prefix).length}}`);
  const code = lines.map(line => expandTabs(line).replace(margin, '')).join('\n');
  const language = LANGUAGE.exec(info)?.[0];
  return `${prefix}<pre><code${language ? ` class="language-${language}"` : ''}>${entities(code)}</code></pre>\n`;
}

function expandTabs(line: string): string {
  return line.replace(/([^\t]*)\t/g, (_, before: string) => before + ' '.repeat(4 - ([...before].length % 4)));
}

function prose(lines: readonly string[], lineEnd: string): string {
  const paragraph = lines.join('\n');
  let text = '';
  let position = 0;
  for (const span of paragraph.matchAll(SPAN)) {
    text += escape(paragraph.slice(position, span.index)) + spanText(span.groups ?? {});
    position = span.index + span[0].length;
  }
  return (text + escape(paragraph.slice(position))).replace(/\n/g, lineEnd);
}

function spanText({ code, block, bracketed, inline, parenthesised }: Record<string, string | undefined>): string {
  if (code !== undefined) {
    const words = code.replace(/\n/g, ' ');
    const isPadded = words.startsWith(' ') && words.endsWith(' ') && words.trim();
    return `<code>${entities(isPadded ? words.slice(1, -1) : words)}</code>`;
  }
  const displayed = block ?? bracketed;
  const formula = displayed ?? (inline ?? parenthesised ?? '').trim();
  const mark = displayed === undefined ? '$' : '$$';
  return `${mark}${formula.replace(LIVE, inFormula)}${mark}`;
}

/** TeX has a word for the one; the others it has no use for, and they are kept apart from what follows. */
function inFormula(_: string, live: string): string {
  const signs = live.replace(/^[$`]+|[$`]+$/g, '');
  return live === '<' ? '\\lt ' : [...signs, ''].join(' ');
}

function escape(text: string): string {
  return text.replace(LIVE, (_, live: string) => entities(live));
}

function entities(text: string): string {
  return text.replace(MARKUP, sign => `&#${sign.codePointAt(0)};`);
}
