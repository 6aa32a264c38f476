import { expect, test } from 'vitest';
import { Block, BlockSplitter, LinkDefinitions } from '../src/model/blocks';

const prose = (source: string, definitions: LinkDefinitions = {}): Block => ({ kind: 'markdown', source, language: '', definitions });
const code = (source: string, language = ''): Block => ({ kind: 'code', source, language, definitions: {} });

const definition = (source: string, definitions: LinkDefinitions): Block => ({ kind: 'definitions', source, language: '', definitions });
const link = (href: string): LinkDefinitions[string] => ({ href, title: undefined as unknown as string });

const TABLE: [string, string, Block[]][] = [
  ['an empty text', '', []],
  ['empty lines', '\n\n', []],
  ['one paragraph', 'one\ntwo', [prose('one\ntwo')]],
  ['two paragraphs', 'one\n\ntwo', [prose('one'), prose('two')]],
  ['headings', '# one\ntwo\n===\nthree', [prose('# one'), prose('two\n==='), prose('three')]],
  ['code', '```python\nx = 1\n\ny = 2\n```', [code('x = 1\n\ny = 2', 'python')]],
  ['code that is not closed yet', 'see\n```js\nlet x', [prose('see'), code('let x', 'js')]],
  ['code with empty lines at its end', '```\nx\n\n\n```\n', [code('x\n\n')]],
  ['prose right after code', '```\nx\n```\nthen', [code('x'), prose('then')]],
  ['tildes around backticks', '~~~\n```\n~~~', [code('```')]],
  ['a longer fence around a shorter one', '````\n```\n````', [code('```')]],
  ['an indented fence', '  ```\n  x\n    y\n  ```', [code('x\n  y')]],
  ['indented code', 'a\n\n    b\n\n    c\n\nd', [prose('a'), prose('    b\n\n    c'), prose('d')]],
  ['a block of mathematics is a formula', '```math\nx^2\n```', [prose('$$\nx^2\n$$')]],
  ['a block of mathematics that has no end yet is code', '```math\nx^2', [code('x^2', 'math')]],
  ['only the first word after the fence is the language', '```python title="a"\n1\n```', [code('1', 'python')]],
  ['a list with empty lines is one block', '- a\n\n- b\n\n  more\n\nend', [prose('- a\n\n- b\n\n  more'), prose('end')]],
  ['code inside a list stays there', '1. a\n   ```\n   x\n\n   y\n   ```\n2. b', [prose('1. a\n   ```\n   x\n\n   y\n   ```\n2. b')]],
  ['code inside a quote stays there', '> ```\n> x\n> ```\n\nb', [prose('> ```\n> x\n> ```'), prose('b')]],
  ['code at the margin ends a list', '1. a\n```\nx\n```\n2. b', [prose('1. a'), code('x'), prose('2. b')]],
  ['a display formula with empty lines', '$$\na\n\nb\n$$\n\nend', [prose('$$\na\n\nb\n$$'), prose('end')]],
  ['a display formula inside a paragraph', 'So\n$$\na\n\nb\n$$\nend', [prose('So'), prose('$$\na\n\nb\n$$'), prose('end')]],
  ['a display formula on one line', '$$x$$\n\nend', [prose('$$x$$'), prose('end')]],
  ['a display formula in brackets', '\\[\na\n\nb\n\\]', [prose('\\[\na\n\nb\n\\]')]],
  ['inline code is not a fence', '```x``` y\n\nz', [prose('```x``` y'), prose('z')]],
  ['a table', 'see\n|a|b|\n|-|-|\n|1|2|\n\nend', [prose('see'), prose('|a|b|\n|-|-|\n|1|2|'), prose('end')]],
  ['link definitions', 'see [a]\n\n[a]: https://a.example\n[b]: #b\n\nno [x]: y', [prose('see [a]'), definition('[a]: https://a.example', { a: link('https://a.example') }), definition('[b]: #b', { b: link('#b') }), prose('no [x]: y')]],
  ['a footnote is text', 'a[^1]\n\nb\n\n[^1]: Smith, 2020.\n\n[^2]: https://a.example', [prose('a[^1]'), prose('b'), prose('[^1]: Smith, 2020.'), prose('[^2]: https://a.example')]],
  ['a line of a log is text', '[INFO]: done\n\nb', [prose('[INFO]: done'), prose('b')]],
  ['code has no definitions', '```\n[INFO]: /var/log\n```\n\n    [a]: #b\n\n~~~\n[c]: #d\n~~~', [code('[INFO]: /var/log'), prose('    [a]: #b'), code('[c]: #d')]],
  ['a definition in a list or a quote', '- a\n\n  [b]: #b\n\n> [c]: #c', [prose('- a\n\n  [b]: #b', { b: link('#b') }), prose('> [c]: #c', { c: link('#c') })]],
  ['code in a list has no definitions', '- a\n  ```\n  [b]: #b\n  ```', [prose('- a\n  ```\n  [b]: #b\n  ```')]],
  ['the first definition of a label wins', '> [a]: #b\n>\n> [A]: #c', [prose('> [a]: #b\n>\n> [A]: #c', { a: link('#b') })]],
  ['signs of lists in a formula', 'So\n$$\na\n+ b\n- c\n= d\n$$\n\nend', [prose('So'), prose('$$\na\n+ b\n- c\n= d\n$$'), prose('end')]],
  ['two dollar signs are no formula', '$$ is the pid.\n\n```sh\necho $$\n```', [prose('$$ is the pid.'), code('echo $$', 'sh')]],
  ['HTML', '<div>\na\n</div>\n\nb', [prose('<div>\na\n</div>'), prose('b')]],
  ['line ends of Windows', 'one\r\n\r\n```\r\nx\r\n```\r\n', [prose('one'), code('x')]]
];

test.each(TABLE)('%s', (_, source, expected) => {
  expect(new BlockSplitter().update(source)).toEqual(expected);
});

test.each(TABLE)('%s, in deltas of any size', (_, source, expected) => {
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

test('a text with another beginning is split from its beginning', () => {
  const splitter = new BlockSplitter();
  splitter.update('one\n\ntwo');
  expect(splitter.update('other')).toEqual([prose('other')]);
});

test('text that is nested too deeply is one block', () => {
  const text = '> '.repeat(4000);
  expect(new BlockSplitter().update(text)).toHaveLength(1);
});
