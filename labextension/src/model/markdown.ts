/** What was said, as Markdown that is safe in any renderer: no HTML of a model runs, no picture is loaded. Pure.
 * pico_jupyter/panel/markdown.py writes the same. */

import { Message } from './types';

const FENCE = /^(\s*)(`{3,}|~{3,})\s*([^`]*)$/;
// Code and formulas; longer ones are taken for prose, so that no text takes long.
const SPECIAL =
  /(`+)(?!`)([\s\S]{0,999}?[^`])\1(?!`)|\$\$[\s\S]{1,999}?\$\$|\$(?!\s)[^$\n]{1,999}?(?<!\s)\$(?!\d)|\\\([\s\S]{1,999}?\\\)|\\\[[\s\S]{1,999}?\\\]/g;
const TAG = /<(?=[a-z/!?])/gi;
const PICTURE = /!(?=\[)/g;

/** The conversation for where no panel can be: under a cell, on the web, in a closed notebook. */
export function conversationMarkdown(messages: readonly Message[]): string {
  const turns = messages.map(message => `**${harmless(speaker(message))}**\n\n${turn(message, harmless(message.content))}`);
  return turns.join('\n\n').trimEnd() || '*Nothing has been said yet.*';
}

/** What belongs to the message, around its text: reasoning, names of attachments, what went wrong. */
export function turn(message: Message, text: string): string {
  const names = message.attachments?.map(({ name }) => line(name)) ?? [];
  const parts = [
    message.reasoning ? `<details><summary>Reasoning</summary>\n\n${harmless(message.reasoning)}\n\n</details>` : '',
    text,
    names.length ? `*Attached: ${names.join(', ')}*` : '',
    message.status === 'failed' ? `*Failed: ${line(message.error ?? '')}*` : ''
  ];
  return parts.filter(part => part.trim()).join('\n\n');
}

export function speaker(message: Message): string {
  return message.role === 'user' ? 'You' : message.model || 'Model';
}

/** Markdown that means the same, but its HTML is text and its pictures are links. */
export function harmless(markdown: string): string {
  const done: string[] = [];
  let prose: string[] = [];
  const lines = markdown.split('\n');
  for (let index = 0; index < lines.length; index += 1) {
    const fence = FENCE.exec(lines[index]);
    if (!fence) {
      prose.push(lines[index]);
      continue;
    }
    const code: string[] = [];
    const indent = new RegExp(`^\\s{0,${fence[1].length}}`);
    for (index += 1; index < lines.length && !closes(lines[index], fence[2]); index += 1) {
      code.push(lines[index].replace(indent, ''));
    }
    done.push(...paragraphs(prose), fenced(code.join('\n'), fence[3].trim().split(/\s/, 1)[0]));
    prose = [];
  }
  return [...done, ...paragraphs(prose)].join('\n');
}

/** Code in a fence that nothing in it ends. */
export function fenced(code: string, language: string): string {
  const longest = Math.max(2, ...Array.from(code.matchAll(/`{3,}/g), run => run[0].length));
  const fence = '`'.repeat(longest + 1);
  return `${fence}${language.replace(/[^\w+#-]/g, '')}\n${code}\n${fence}`;
}

function closes(line: string, mark: string): boolean {
  const trimmed = line.trim();
  return trimmed.length >= mark.length && trimmed === mark[0].repeat(trimmed.length);
}

/** The lines, made harmless; nothing for none. */
function paragraphs(lines: readonly string[]): string[] {
  if (!lines.length) {
    return [];
  }
  const prose = lines.join('\n');
  let text = '';
  let position = 0;
  for (const special of prose.matchAll(SPECIAL)) {
    text += plain(prose.slice(position, special.index)) + (special[1] ? span(special[0], special[2]) : formula(special[0]));
    position = special.index + special[0].length;
  }
  return [text + plain(prose.slice(position))];
}

function plain(text: string): string {
  return text.replace(TAG, '&lt;').replace(PICTURE, '&#33;');
}

/** Inline code. Where it would be dangerous if a renderer took it for something else, it is written letter by letter. */
function span(source: string, code: string): string {
  if (!/<|!\[/.test(code)) {
    return source;
  }
  const words = code.trim().replace(/\s+/g, ' ');
  return `<code>${words.replace(/[^\w ]/gu, letter => `&#${letter.codePointAt(0)};`)}</code>`;
}

function formula(source: string): string {
  return source.replace(/</g, '\\lt ').replace(PICTURE, '! ');
}

/** On one line, and nothing but text. */
function line(text: string): string {
  return text.replace(/\s+/g, ' ').replace(/[\\`*_[\]<>#!&$|~]/g, letter => `&#${letter.codePointAt(0)};`);
}
