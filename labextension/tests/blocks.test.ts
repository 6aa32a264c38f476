import { expect, test } from 'vitest';
import { Block, BlockSplitter, linkDefinitions } from '../src/model/blocks';

const prose = (source: string): Block => ({ kind: 'markdown', source, language: '' });
const code = (source: string, language = ''): Block => ({ kind: 'code', source, language });

const TABLE: [string, string, Block[]][] = [
  ['nothing', '', []],
  ['one paragraph', 'one\ntwo', [prose('one\ntwo')]],
  ['two paragraphs', 'one\n\ntwo', [prose('one\n'), prose('two')]],
  ['code', '```python\nx = 1\n\ny = 2\n```', [code('x = 1\n\ny = 2', 'python')]],
  ['code that is not closed yet', 'see\n```js\nlet x', [prose('see'), code('let x', 'js')]],
  ['prose right after code', '```\nx\n```\nthen', [code('x'), prose('then')]],
  ['tildes, and backticks in them', '~~~\n```\n~~~', [code('```')]],
  ['a longer fence holds a shorter one', '````\n```\n````', [code('```')]],
  ['a fence that is indented', '  ```\n  x\n    y\n  ```', [code('x\n  y')]],
  ['what follows the language is dropped', '```python title="a"\n1\n```', [code('1', 'python')]],
  ['a list with blank lines is one block', '- a\n\n- b\n\n  more\n\nend', [prose('- a\n\n- b\n\n  more\n'), prose('end')]],
  ['code inside a list stays there', '1. a\n   ```\n   x\n\n   y\n   ```\n2. b', [prose('1. a\n   ```\n   x\n\n   y\n   ```\n2. b')]],
  ['code at the margin ends a list', '1. a\n```\nx\n```\n2. b', [prose('1. a'), code('x'), prose('2. b')]],
  ['display maths keeps its blank lines', '$$\na\n\nb\n$$\n\nend', [prose('$$\na\n\nb\n$$\n'), prose('end')]],
  ['maths on one line', '$$x$$\n\nend', [prose('$$x$$\n'), prose('end')]],
  ['maths in brackets', '\\[\na\n\nb\n\\]', [prose('\\[\na\n\nb\n\\]')]],
  ['inline code is no fence', '```x``` y\n\nz', [prose('```x``` y\n'), prose('z')]],
  ['a table', '|a|b|\n|-|-|\n|1|2|', [prose('|a|b|\n|-|-|\n|1|2|')]]
];

test.each(TABLE)('%s', (_, source, expected) => {
  expect(new BlockSplitter().update(source)).toEqual(expected);
});

test.each(TABLE)('%s, however it arrives', (_, source, expected) => {
  for (let cut = 0; cut <= source.length; cut += 1) {
    const splitter = new BlockSplitter();
    splitter.update(source.slice(0, cut));
    expect(splitter.update(source)).toEqual(expected);
  }
  const splitter = new BlockSplitter();
  for (let end = 0; end < source.length; end += 1) {
    splitter.update(source.slice(0, end));
  }
  expect(splitter.update(source)).toEqual(expected);
});

test('finished blocks stay the same objects while the last one grows', () => {
  const splitter = new BlockSplitter();
  const [first, second] = splitter.update('one\n\n```\nx\n```\nthr');
  const later = splitter.update('one\n\n```\nx\n```\nthree');
  expect(later[0]).toBe(first);
  expect(later[1]).toBe(second);
  expect(later[2]).toEqual(prose('three'));
});

test('another text starts anew', () => {
  const splitter = new BlockSplitter();
  splitter.update('one\n\ntwo');
  expect(splitter.update('other')).toEqual([prose('other')]);
});

test('definitions of links are found anywhere', () => {
  expect(linkDefinitions('see [a][1]\n\n[1]: https://a.example\n\n[b]: #b\nno [x]: y')).toBe('[1]: https://a.example\n[b]: #b');
});
