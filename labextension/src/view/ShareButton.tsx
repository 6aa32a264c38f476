/** The button with the open notebook's name: while it is pressed, each message carries the notebook. */

import * as React from 'react';
import { contextBudget, isSent } from '../model/context';
import { Icon } from './icons';
import { SharedNotebook, useObservable, useServices } from './services';

export function ShareButton({ notebook }: { notebook: SharedNotebook }): React.JSX.Element | null {
  const { preferences, trans } = useServices();
  const { sharesNotebook } = useObservable(preferences);
  const name = useObservable(notebook.name);
  if (!name) {
    return null;
  }
  const label = sharesNotebook ? trans.__('Messages carry %1. Click to stop this.', name) : trans.__('Let messages carry %1', name);
  return (
    <button
      type="button"
      className="pico-share"
      aria-pressed={sharesNotebook}
      aria-label={label}
      title={label}
      onClick={() => notebook.setShared(!sharesNotebook)}
    >
      <Icon name={sharesNotebook ? 'check' : 'plus'} size={12} />
      <span className="pico-chip-name" dir="auto">
        {name}
      </span>
    </button>
  );
}

/** Returns a function that attaches the open notebook if the user shares it, and if it changed since it was sent. */
export function useSharedNotebook(): () => void {
  const { actions, chat, preferences } = useServices();
  return () => {
    const used = chat.state.get().attachments.reduce((sum, { data }) => sum + data.length, 0);
    const budget = contextBudget(chat.models.chosen?.context ?? 0, used);
    const candidate = preferences.get().sharesNotebook ? actions.sharedNotebook?.read(budget) : null;
    if (candidate && !isSent(chat.conversation.state.get().messages, candidate)) {
      chat.attach([candidate]);
    }
  };
}
