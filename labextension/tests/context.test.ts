import { expect, test } from 'vitest';
import { contextBudget, cutMiddle, mentionAt, notebookText, variablesText, withoutMention } from '../src/model/context';

test.each([
  ['@', 1, ''],
  ['explain @er', 11, 'er'],
  ['(@Cell', 6, 'cell'],
  ['a\n@no', 5, 'no']
])('%j has a mention at %i', (text, cursor, word) => {
  expect(mentionAt(text, cursor)?.word).toBe(word);
});

test.each([['me@home', 7], ['@error now', 10], ['@x1', 3], ['', 0]])('%j has no mention at %i', (text, cursor) => {
  expect(mentionAt(text, cursor)).toBeNull();
});

test('a chosen mention disappears from the text with one blank', () => {
  const text = 'explain @er please';
  const mention = mentionAt(text, 11);
  expect(mention && withoutMention(text, mention)).toBe('explain please');
});

test('attachments share half of the context', () => {
  expect(contextBudget(1000, 0)).toBe(1500);
  expect(contextBudget(1000, 1400)).toBe(100);
  expect(contextBudget(1000, 9999)).toBe(0);
  expect(contextBudget(0, 0)).toBeGreaterThan(10_000);
});

test('the middle of a long text is left out', () => {
  const cut = cutMiddle(`START${'x'.repeat(500)}END`, 100);
  expect(cut.length).toBeLessThanOrEqual(100);
  expect(cut).toMatch(/^START.*characters left out.*END$/s);
  expect(cutMiddle('short', 100)).toBe('short');
});

test('cells near the active one are whole, and the others have their first line', () => {
  const cells = Array.from({ length: 9 }, (_, index) => ({ kind: 'code', source: `first${index}\nsecond${index} ${'y'.repeat(40)}` }));
  const text = notebookText(cells, 4, 500);
  expect(text.length).toBeLessThanOrEqual(500);
  expect(text).toContain('second4');
  expect(text).not.toContain('second0');
  expect(text).toContain('first0 …');
});

test('variables have a line each', () => {
  expect(variablesText([{ name: 'df', type: 'DataFrame', detail: '(3, 2)' }, { name: 'x', type: 'int', detail: '' }], 99)).toBe('df: DataFrame (3, 2)\nx: int');
});
