/** Tells the keys of input methods from those of the panel. */

import * as React from 'react';

/** Safari reports the key that ends a composition after the end, with this code. */
const COMPOSITION_KEY = 229;

export function isComposing({ isComposing, keyCode }: Pick<KeyboardEvent, 'isComposing' | 'keyCode'>): boolean {
  return isComposing || keyCode === COMPOSITION_KEY;
}

/** A handler for the root of the panel. It hides the keys of input methods from all other handlers of the page. */
export function hideCompositionKeys(event: React.KeyboardEvent): void {
  if (isComposing(event.nativeEvent)) {
    event.stopPropagation();
  }
}
