/** Writes code into fences of Markdown, and reads it from them. */

/** A text in a fence that is longer than every run of backticks in it. */
export function fenced(text: string, language: string): string {
  const longest = Math.max(2, ...Array.from(text.matchAll(/`{3,}/g), run => run[0].length));
  const fence = '`'.repeat(longest + 1);
  return `${fence}${language}\n${text.replace(/\n$/, '')}\n${fence}`;
}

const FENCE = /^[ \t]*(`{3,}|~{3,})[^\n]*\n(?:([^]*?)\n)?[ \t]*\1[`~]*[ \t]*$/m;
const OPEN_FENCE = /^[ \t]*(?:`{3,}|~{3,})[^\n]*\n([^]*)$/m;

/** The first code block of an answer. An answer without a fence counts as a whole if `isWhole`; else it contains no code: ''. */
export function codeOf(answer: string, isWhole = false): string {
  const block = FENCE.exec(answer) ?? OPEN_FENCE.exec(answer);
  return (block ? (block.at(-1) ?? '') : isWhole ? answer : '').replace(/^\n+|\s+$/g, '');
}
