import { expect, test } from 'vitest';
import { CellFacts, cellText, findCell, outline, outputImages, runText, shortId } from '../src/act/cellTexts';
import { SeenCells } from '../src/act/seenCells';

function cell(id: string, source: string, rest: Partial<CellFacts> = {}): CellFacts {
  return { id, kind: 'code', count: null, source, outputs: [], ...rest };
}

const ERROR = { output_type: 'error', ename: 'ZeroDivisionError', evalue: 'division by zero', traceback: ['\u001b[0;31mX\u001b[0m', 'Cell In[4], line 3\n      1 x\n----> 3 1 / 0'] };
const CELLS = [cell('ab12cdef', 'print(1)\nprint(2)', { count: 3 }), cell('ab77', '# Title', { kind: 'markdown' }), cell('ab12xyz', '1 / 0', { count: 4, outputs: [ERROR] })];

test('a notebook is outlined with a line for each cell', () => {
  expect(outline('a.ipynb', CELLS)).toBe('a.ipynb, 3 cells\n1 ab12c code [3] print(1)\n2 ab77 markdown # Title\n3 ab12x code [4] 1 / 0 error');
  expect(outline('b.ipynb', [cell('ab12', '')])).toBe('b.ipynb, 1 cell\n1 ab12 code [ ]');
});

test('a cell is shown with its source and its output', () => {
  expect(cellText(CELLS[2], ['ab12cdef', 'ab12xyz'])).toBe('ab12x code [4]\n1 / 0\nError:\nZeroDivisionError: division by zero\n(line 3)');
  expect(cellText(CELLS[1], ['ab77'])).toBe('ab77 markdown\n# Title');
});

test('a short id has four characters, or more until no other cell has it', () => {
  expect(shortId('ab12cdef', ['ab12cdef', 'ab13'])).toBe('ab12');
  expect(shortId('ab12cdef', ['ab12cdef', 'ab12cxyz'])).toBe('ab12cd');
});

test('a cell is found by its short or whole id, and an error names the cells', () => {
  expect(findCell(CELLS, 'ab12x')).toBe(CELLS[2]);
  expect(findCell(CELLS, 'ab77')).toBe(CELLS[1]);
  expect(() => findCell(CELLS, 'ab12')).toThrow('There is no cell ab12. The cells are ab12c, ab77, ab12x.');
  expect(() => findCell(CELLS, 'ab')).toThrow('There is no cell ab.');
  expect(() => findCell([], 'ab77')).toThrow('The notebook is empty.');
});

test.each([
  ['nothing', [], 'No output.'],
  ['a print', [{ output_type: 'stream', text: ['4', '7\n'] }], 'Output:\n47'],
  ['a print and a value', [{ output_type: 'stream', text: 'a\n' }, { output_type: 'execute_result', data: { 'text/plain': '2' } }], 'Output:\na\n2'],
  ['a progress bar', [{ output_type: 'stream', text: '10%\r50%\r100%\n' }], 'Output:\n100%'],
  ['a print and an error', [{ output_type: 'stream', text: 'a\n' }, ERROR], 'Output:\na\nError:\nZeroDivisionError: division by zero\n(line 3)'],
  ['an error of the syntax', [{ ...ERROR, ename: 'SyntaxError', evalue: "invalid syntax (2912.py, line 1)", traceback: ['Cell In[1], line 1'] }], 'Error:\nSyntaxError: invalid syntax\n(line 1)']
])('the result of a run with %s', (_, outputs, expected) => {
  expect(runText(outputs)).toBe(expected);
});

test('images of outputs are data URLs', () => {
  const outputs = [{ data: { 'image/png': 'AA\nBB\n', 'text/plain': '<Figure>' } }, { data: { 'text/plain': '1' } }];
  expect(outputImages(outputs)).toEqual(['data:image/png;base64,AABB']);
});

test('a cell may be changed if it was read and has not changed since', () => {
  const seen = new SeenCells();
  expect(() => seen.requireSeen('a', 'x = 1')).toThrow('Read a cell before you change it. This cell contains:\nx = 1');
  expect(() => seen.requireSeen('a', 'x = 1')).not.toThrow();
  expect(() => seen.requireSeen('a', 'x = 2')).toThrow('The cell has changed since you read it. Now it contains:\nx = 2');
  expect(() => seen.requireSeen('a', 'x = 2')).not.toThrow();
});

test('a cell may be deleted unless it has changed since it was read', () => {
  const seen = new SeenCells();
  expect(() => seen.requireUnchanged('a', 'x = 1')).not.toThrow();
  seen.note('a', 'x = 1');
  expect(() => seen.requireUnchanged('a', 'x = 2')).toThrow('has changed');
});
