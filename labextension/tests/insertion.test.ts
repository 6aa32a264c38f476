import { expect, test } from 'vitest';
import { insertion } from '../src/model/insertion';

/** The text with code inserted at "|", or instead of the text between two of them. */
function inserted(marked: string, code: string): string {
  const [before, selected, after] = marked.split('|').length === 3 ? marked.split('|') : [marked.split('|')[0], '', marked.split('|')[1]];
  const source = before + selected + after;
  const { start, end, text } = insertion(source, before.length, before.length + selected.length, code);
  return source.slice(0, start) + text + source.slice(end);
}

test.each([
  ['an empty cell', '|', 'x', 'x'],
  ['the end of a line', 'units.sum()|', "print('inserted')", "units.sum()\nprint('inserted')"],
  ['the middle of a line', 'units.|sum()\nlast', 'x', 'units.sum()\nx\nlast'],
  ['the start of a line', 'a\n|b', 'x', 'a\nx\nb'],
  ['the start of a cell', '|b', 'x', 'x\nb'],
  ['an empty line', 'a\n|\nb', 'x\ny', 'a\nx\ny\nb'],
  ['the end of a cell', 'a\n|', 'x\n', 'a\nx'],
  ['a line of blanks', 'def f():\n    |', 'x\n\ny', 'def f():\n    x\n\n    y'],
  ['an indented line', 'def f():\n    a|\n    b', 'if x:\n    y', 'def f():\n    a\n    if x:\n        y\n    b'],
  ['a selection', 'a = |b|+ c', 'x', 'a = x+ c'],
  ['a selection of lines', 'a\n|b\nc|\nd', 'x', 'a\nx\nd']
])('code is inserted at %s', (_, marked, code, expected) => {
  expect(inserted(marked, code)).toBe(expected);
});
