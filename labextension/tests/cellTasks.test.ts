import { expect, test } from 'vitest';
import { TaskCell, taskQuestion } from '../src/model/cellTasks';
import { codeOf, fenced } from '../src/model/fences';

const CELL: TaskCell = { source: 'pritn(1)', language: 'python', isMarkdown: false, error: '', before: ['x = 1', '', 'y = 2'] };

test('fix sends the cell, its error and the cells before it', () => {
  const question = taskQuestion('fix', { ...CELL, error: "NameError: name 'pritn' is not defined" });
  expect(question).toContain('This cell of a Jupyter notebook fails.');
  expect(question).toContain('```python\npritn(1)\n```');
  expect(question).toContain("```text\nNameError: name 'pritn' is not defined\n```");
  expect(question.indexOf('x = 1')).toBeLessThan(question.indexOf('y = 2'));
});

test('fix without an error looks for the mistake', () => {
  expect(taskQuestion('fix', CELL)).toContain('Find the mistake');
  expect(taskQuestion('fix', { ...CELL, isMarkdown: true })).toContain('Markdown');
});

test('the end of a long error is sent, and only the nearest cells before', () => {
  const question = taskQuestion('fix', { ...CELL, error: `${'x'.repeat(9000)}END`, before: ['far'.repeat(3000), 'near'] });
  expect(question).toContain('END');
  expect(question.length).toBeLessThan(4000);
  expect(question).toContain('near');
});

test('document and continue never send an error', () => {
  expect(taskQuestion('document', { ...CELL, error: 'boom' })).not.toContain('boom');
  expect(taskQuestion('continue', { ...CELL, error: 'boom' })).not.toContain('boom');
});

test('a fence is longer than the backticks in the text', () => {
  expect(fenced('````\nx\n````', 'md')).toBe('`````md\n````\nx\n````\n`````');
});

test.each([
  ['Here:\n```python\na = 1\nb = 2\n```\nDone.', 'a = 1\nb = 2'],
  ['```\n\nx\n\n```', 'x'],
  ['~~~py\nx\n~~~', 'x'],
  ['```python\ncut off', 'cut off'],
  ['````md\n```\nx\n```\n````', '```\nx\n```'],
  ['```\n```', ''],
  ['no code', '']
])('the first code block of %j is the code', (answer, code) => {
  expect(codeOf(answer)).toBe(code);
});

test('an answer without a fence is code if it must be', () => {
  expect(codeOf('print(1)\n', true)).toBe('print(1)');
});
