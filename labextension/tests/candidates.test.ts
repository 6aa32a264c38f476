import { expect, test } from 'vitest';
import { pastesFiles } from '../src/model/candidates';

const PICTURE = ['image.png'];
const TABLE = '<html><body><!--StartFragment--><table><tr><td>a</td><td>1</td></tr></table></body></html>';
const IMAGE = '<meta charset="utf-8"><img src="https://a.example/b.png" alt="b">';

test.each([
  ['text', [], 'a', '', false],
  ['nothing', [], '', '', false],
  ['cells of a spreadsheet', PICTURE, 'a\t1\r\n', TABLE, false],
  ['cells without HTML', PICTURE, 'a\t1\nb\t2', '', false],
  ['formatted text with an image', PICTURE, 'see', '<p>see</p><img src="x">', false],
  ['a screenshot', PICTURE, '', '', true],
  ['an image of a web page', PICTURE, '', IMAGE, true],
  ['an image of a web page with its address', PICTURE, 'https://a.example/b.png', IMAGE, true],
  ['a file with its name', ['a b.csv'], 'a b.csv', '', true],
  ['files with their addresses', ['a b.csv', 'c.png'], 'file:///x/a%20b.csv\r\nfile:///x/c.png\r\n', '', true],
  ['text with a stray percent sign', PICTURE, '50%', '', false]
])('a paste of %s', (_, names, text, html, expected) => {
  expect(pastesFiles(names, text, html)).toBe(expected);
});
