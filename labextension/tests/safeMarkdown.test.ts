import { expect, test } from 'vitest';
// The cases of the Python side, too.
import CASES from '../../tests/panel/safe.json';
import { conversationMarkdown } from '../src/model/conversationMarkdown';
import { safeMarkdown } from '../src/model/safeMarkdown';
import { message } from './fakes';

test.each(CASES as [string, string][])('%j becomes safe Markdown', (source, expected) => {
  expect(safeMarkdown(source)).toBe(expected);
});

test('text that is nested too deeply for the parser is safe, too', () => {
  expect(safeMarkdown(`${'> '.repeat(4000)}<b>`)).toContain('> &#60;b>');
});

test('the Markdown of a conversation has all messages', () => {
  const image = { id: '1', kind: 'image', name: 'a_b.png', data: '' } as const;
  const question = message('a', { content: 'What is it?', attachments: [image, { ...image, name: 'x.py' }] });
  const answer = message('b', { role: 'assistant', model: 'tiny', reasoning: 'Round, <so>', content: 'A `circle`.' });
  const failed = message('c', { role: 'assistant', content: '', status: 'failed', error: 'out of\nmemory' });
  expect(conversationMarkdown([question, answer, failed])).toBe(
    '**You**\n\nWhat is it?\n\n*Attached: a_b.png, x.py*\n\n' +
      '**tiny**\n\n<details><summary>Thinking</summary>\n\nRound, &#60;so>\n\n</details>\n\nA <code>circle</code>.\n\n' +
      '**Model**\n\n*Failed: out of memory*'
  );
  expect(conversationMarkdown([])).toBe('*No messages yet.*');
});
