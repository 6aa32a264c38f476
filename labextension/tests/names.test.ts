import { expect, test } from 'vitest';
import { titleOf } from '../src/model/conversation';
import { exportName, shorten } from '../src/model/names';
import { message } from './fakes';

const FAMILY = '👨‍👩‍👧‍👦';

test.each([
  ['short', 'short'],
  ['exactly ten', 'exactly t…'],
  ['a b c d e f', 'a b c d e…'],
  ['123456789🎉', '123456789🎉'],
  ['12345678🎉🎉🎉', '12345678🎉…'],
  [FAMILY.repeat(11), `${FAMILY.repeat(9)}…`],
  ['🇩🇪'.repeat(11), `${'🇩🇪'.repeat(9)}…`],
  ['e\u0301'.repeat(11), `${'e\u0301'.repeat(9)}…`],
  ['a\ud83c', 'a\ufffd']
])('%j is cut between characters', (text, shown) => {
  expect(shorten(text, 10)).toBe(shown);
});

test.each([
  ['What is it?', 'What is it.md'],
  ['.env file: what is it?', 'env file what is it.md'],
  ['../../etc/passwd', 'etc passwd.md'],
  ['~$a\\b|c<d>e"f*g', '$a b c d e f g.md'],
  ['a\u202eb\u200e\nc\td\u0000', 'a b c d.md'],
  ['half \ud83c', 'half.md'],
  ['What is 50% of #1?', 'What is 50 of 1.md'],
  ['Wait... ', 'Wait.md'],
  ['CON', 'CON conversation.md'],
  ['nul.txt', 'nul txt conversation.md'],
  ['', 'conversation.md'],
  ['???', 'conversation.md'],
  ['....', 'conversation.md'],
  ['שלום עולם', 'שלום עולם.md'],
  [`Family ${FAMILY}`, `Family ${FAMILY}.md`]
])('the file of the title %j is named %j', (title, name) => {
  expect(exportName(title, '.md')).toBe(name);
  expect(() => encodeURIComponent(exportName(title, '.md'))).not.toThrow();
});

test('a long title gives a name that fits into a file system', () => {
  for (const title of ['x'.repeat(1000), '🎉'.repeat(1000), FAMILY.repeat(100), 'ä'.repeat(1000)]) {
    expect(new TextEncoder().encode(exportName(title, '.ipynb')).length).toBeLessThan(200);
  }
});

test('the title of a conversation is the start of its first question', () => {
  const title = titleOf(message('a', { content: `  ${'x'.repeat(58)}🎉🎉🎉\nmore` }));
  expect(title).toBe(`${'x'.repeat(58)}🎉…`);
});
