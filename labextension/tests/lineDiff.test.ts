import { expect, test } from 'vitest';
import { countChanges, diffLines } from '../src/model/lineDiff';

const shown = (before: string, after: string): string[] =>
  diffLines(before, after).map(({ kind, text }) => ({ same: ' ', added: '+', removed: '-' })[kind] + text);

test('a changed line is shown as removed and added', () => {
  expect(shown('a\nb\nc', 'a\nB\nc')).toEqual([' a', '-b', '+B', ' c']);
});

test('lines are inserted and deleted in place', () => {
  expect(shown('a\nb\nc\nd', 'a\nx\nb\nd')).toEqual([' a', '+x', ' b', '-c', ' d']);
});

test('an empty text has no lines', () => {
  expect(shown('', 'a')).toEqual(['+a']);
  expect(shown('a', '')).toEqual(['-a']);
  expect(shown('', '')).toEqual([]);
});

test('the removed and the same lines are the old text, and the added and the same lines the new one', () => {
  let state = 7;
  const random = (limit: number): number => (state = (state * 48271) % 2147483647) % limit;
  for (let round = 0; round < 300; round += 1) {
    const text = (): string => Array.from({ length: random(12) }, () => 'abc'[random(3)]).join('\n');
    const [before, after] = [text(), text()];
    const diff = diffLines(before, after);
    const joined = (left: string): string => diff.filter(({ kind }) => kind !== left).map(({ text }) => text).join('\n');
    expect([joined('added'), joined('removed')]).toEqual([before, after]);
  }
});

test('two long texts without a common line are compared at once', () => {
  const long = (word: string): string => Array.from({ length: 5000 }, (_, index) => word + index).join('\n');
  expect(countChanges(diffLines(long('a'), long('b')))).toEqual({ added: 5000, removed: 5000 });
});
