/** Keys that are typed in the panel are not the notebook's: Shift+Enter would run the cell again and lose the chat. */

export function isolateKeys(element: HTMLElement): void {
  for (const type of ['keydown', 'keyup', 'keypress'] as const) {
    element.addEventListener(type, event => {
      if (!isForApplication(event)) {
        event.stopPropagation();
      }
    });
  }
  for (const type of ['paste', 'copy', 'cut'] as const) {
    element.addEventListener(type, event => event.stopPropagation());
  }
}

/** Save, the sidebar and the command palette keep working. */
function isForApplication(event: KeyboardEvent): boolean {
  const key = event.key.toLowerCase();
  const isAccel = (event.ctrlKey || event.metaKey) && !event.altKey;
  return isAccel && (key === 's' || key === 'b' || (key === 'c' && event.shiftKey));
}
