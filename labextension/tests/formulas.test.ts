import { expect, test } from 'vitest';
// The cases of the Python side, too: texts, and the formulas in their safe Markdown.
import ROWS from '../../tests/panel/formulas.json';
import { BlockSplitter, mergeDefinitions } from '../src/model/blocks';
import { safeMarkdown } from '../src/model/safeMarkdown';
import { toHtml } from '../src/view/renderMarkdown';

const CASES = ROWS as [string, string[]][];
const CODE = /<code>.*?<\/code>|<pre>.*?<\/pre>|^```.*?^```/gms;
const FORMULA = /\$\$.*?\$\$|\$[^$]*\$|\\begin.*?\\end\{\w+\}/gs;

test.each(CASES)('%j has these formulas in saved notebooks', (text, formulas) => {
  const found = safeMarkdown(text).replace(CODE, '').match(FORMULA) ?? [];
  expect(found.map(formula => formula.replace(/\s+/g, ' '))).toEqual(formulas);
});

function panelHtml(text: string): string {
  const blocks = new BlockSplitter().update(text);
  const definitions = mergeDefinitions(blocks.map(block => block.definitions));
  return blocks.map(({ kind, source }) => (kind === 'markdown' ? toHtml(source, definitions) : '')).join('');
}

test.each(CASES)('%j has as many formulas in the panel', (text, formulas) => {
  const html = panelHtml(text);
  expect(html.split('<math').length - 1, html).toBe(formulas.length);
  expect(html.split('pico-math').length - 1).toBe(formulas.filter(formula => !/^\$[^$]/.test(formula)).length);
});

test.each(CASES)('%j has these formulas while it grows, too', text => {
  const splitter = new BlockSplitter();
  for (let end = 0; end <= text.length; end += 1) {
    splitter.update(text.slice(0, end));
  }
  expect(splitter.update(text)).toEqual(new BlockSplitter().update(text));
});

test('a formula that TeX does not understand is shown as its source', () => {
  expect(toHtml('$\\frac{a}$', {})).toContain('$\\frac{a}$');
});

test('code keeps its words and its dollar signs', () => {
  const html = toHtml('In bash `$$` is the process id; write `echo $$` to see it.', {});
  expect(html).toBe('<p>In bash <code dir="ltr">$$</code> is the process id; write <code dir="ltr">echo $$</code> to see it.</p>\n');
});

test('only two tildes strike text out, because one stands before an estimate', () => {
  const html = toHtml('It costs ~$5 per month (~$60 per year), ~~not $9~~.', {});
  expect(html).toBe('<p>It costs ~$5 per month (~$60 per year), <del>not $9</del>.</p>\n');
});

test('links use the definitions of other blocks', () => {
  expect(panelHtml('See [a] and [B][b].\n\n[a]: https://a.example\n\n- x\n\n  [b]: #b')).toContain('href="https://a.example"');
});

test('a definition or what looks like one is not repeated', () => {
  const text = 'First.[^1]\n\n[^1]: Smith et al., 2020.\n\n[a]: https://a.example\n\n- [INFO]: done\n\n~~~\n[LOG]: #x\n~~~\n\n<pre>\nx';
  const html = panelHtml(text);
  expect(html.split('Smith').length - 1).toBe(1);
  expect(html.split('[INFO]: done').length - 1).toBe(1);
  expect(html).not.toContain('a.example');
});
