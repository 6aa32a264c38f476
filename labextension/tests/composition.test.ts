import { expect, test } from 'vitest';
import { isComposing } from '../src/view/composition';

test.each([
  ['a key of the panel', { isComposing: false, keyCode: 13 }, false],
  ['Enter that confirms a conversion', { isComposing: true, keyCode: 13 }, true],
  ['Enter that confirms a conversion in Safari', { isComposing: false, keyCode: 229 }, true]
])('%s', (_, event, expected) => {
  expect(isComposing(event)).toBe(expected);
});
