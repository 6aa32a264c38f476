/** Hides the panel's key and clipboard events from the notebook. Shift+Enter would run the cell again and lose the chat. */

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

/** Whether the keys are JupyterLab's shortcut for saving, the sidebar or the command palette. */
function isForApplication(event: KeyboardEvent): boolean {
  const key = event.key.toLowerCase();
  const isAccel = (event.ctrlKey || event.metaKey) && !event.altKey;
  return isAccel && (key === 's' || key === 'b' || (key === 'c' && event.shiftKey));
}
