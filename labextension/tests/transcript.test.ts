import { expect, test } from 'vitest';
import { toMarkdown, toNotebook } from '../src/model/exports';
import { interruptAbandoned, mergeTranscripts, readMessages, readTranscript, writeTranscript } from '../src/model/transcript';
import { Message, Transcript } from '../src/model/types';
import { message } from './fakes';

function transcript(messages: readonly Message[], changes: Partial<Transcript> = {}): Transcript {
  return { id: 'c', title: 'Sums', titled: 1, created: 1, messages, removed: [], ...changes };
}

test('a written transcript is read unchanged', () => {
  const answer = message('b', {
    role: 'assistant',
    reasoning: 'hm',
    model: 'tiny',
    status: 'stopped',
    firstMs: 10,
    stats: { promptTokens: 1, completionTokens: 2, reasoningTokens: 0 }
  });
  const question = message('a', { attachments: [{ id: '1', kind: 'text', name: 'x.py', data: 'x' }] });
  const original = transcript([question, answer], { removed: ['z'] });
  expect(readTranscript(writeTranscript(original))).toEqual(original);
});

test.each(['', '{', '[]', '{"format":"other"}', '{"nbformat":4,"cells":[]}'])('%s is not a conversation', text => {
  expect(readTranscript(text)).toBeNull();
});

test('messages written by hand need only a role and content', () => {
  expect(readMessages([{ role: 'user', content: 'hi' }, { role: 'system', content: 'x' }, { role: 'assistant', content: 'ho', status: 7 }])).toEqual([
    { id: 'm0', role: 'user', content: 'hi', status: 'done', created: 1, changed: 1 },
    { id: 'm1', role: 'assistant', content: 'ho', status: 'done', created: 2, changed: 2 }
  ]);
});

test('two versions are merged in either order', () => {
  const ours = transcript([message('a', { created: 1 }), message('b', { created: 2 }), message('d', { created: 4 })], { removed: ['x'] });
  const theirs = transcript([message('a', { created: 1, changed: 9, content: 'edited' }), message('c', { created: 3 }), message('x')], {
    removed: ['b'],
    title: 'Renamed',
    titled: 2
  });
  const merged = mergeTranscripts(ours, theirs);
  expect(merged.messages.map(({ content }) => content)).toEqual(['edited', 'c', 'd']);
  expect(merged).toMatchObject({ removed: ['b', 'x'], title: 'Renamed' });
  expect(mergeTranscripts(theirs, ours)).toEqual(merged);
  expect(mergeTranscripts(merged, theirs)).toEqual(merged);
});

test('an answer without a writer is interrupted', () => {
  const answer = message('a', { role: 'assistant', status: 'streaming', writer: 'me', changed: 1000 });
  expect(interruptAbandoned(answer, 'me', 1001)).toMatchObject({ status: 'interrupted' });
  expect(interruptAbandoned(answer, 'you', 1001)).toBe(answer);
  expect(interruptAbandoned(answer, 'you', 40_000)).toMatchObject({ status: 'interrupted' });
  expect(interruptAbandoned(message('b'), 'me', 1001)).toEqual(message('b'));
});

const talk = transcript([
  message('How?'),
  message('a', { role: 'assistant', model: 'tiny', content: 'So:\n\n```python\nx = 1\n```\n\n```sh\nls\n```' })
]);

test('exported Markdown has a heading for each message', () => {
  expect(toMarkdown(talk)).toBe('# Sums\n\n## You\n\nHow?\n\n## tiny\n\nSo:\n\n```python\nx = 1\n```\n\n```sh\nls\n```\n');
});

test('an exported notebook has Python code in code cells', () => {
  const { cells, nbformat } = JSON.parse(toNotebook(talk));
  expect(nbformat).toBe(4);
  expect(cells.map((cell: { cell_type: string; source: string }) => [cell.cell_type, cell.source.split('\n')[0]])).toEqual([
    ['markdown', '# Sums'],
    ['markdown', '**You**'],
    ['markdown', '**tiny**'],
    ['code', 'x = 1'],
    ['markdown', '```sh']
  ]);
});

test('cells of an exported notebook have the link definitions that they use', () => {
  const content = 'See [A].\n\n```python\nx\n```\n\nNo link.\n\n[a]: https://a.example\n[b]: #b';
  const { cells } = JSON.parse(toNotebook(transcript([message('a', { role: 'assistant', model: 'tiny', content })])));
  expect(cells.map((cell: { source: string }) => cell.source)).toEqual(['# Sums', '**tiny**\n\nSee [A].\n\n[a]: https://a.example', 'x', 'No link.']);
});

test('exports have no halves of characters, which no file can hold', () => {
  const talk = transcript([message('a', { content: 'b\ud83c' })], { title: 'a\ud83c' });
  expect(toMarkdown(talk)).toBe('# a\ufffd\n\n## You\n\nb\ufffd\n');
  expect(toNotebook(talk)).not.toMatch(/\\ud83c/);
});
