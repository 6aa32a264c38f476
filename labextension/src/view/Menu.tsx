/** The menu with exports and settings. */

import * as React from 'react';
import { toMarkdown, toNotebook } from '../model/exports';
import { exportName } from '../model/names';
import { Popover } from './controls';
import { AppActions, useServices } from './services';

export function Menu(): React.JSX.Element | null {
  const { actions, trans } = useServices();
  const items = useItems(actions);
  if (!items.length) {
    return null;
  }
  return (
    <Popover kind="menu" icon="more" label={trans.__('More')}>
      {close => <Items items={items} close={close} />}
    </Popover>
  );
}

interface Item {
  readonly label: string;
  readonly run: () => void;
}

function useItems({ exportText, openInTab, openSettings }: AppActions): readonly Item[] {
  const { chat, trans } = useServices();
  const exporting = (ending: string, write: typeof toMarkdown) => () => {
    const transcript = chat.conversation.state.get();
    exportText?.(exportName(transcript.title, ending), write(transcript));
  };
  return [
    ...(exportText
      ? [
          { label: trans.__('Export as Markdown'), run: exporting('.md', toMarkdown) },
          { label: trans.__('Export as notebook'), run: exporting('.ipynb', toNotebook) }
        ]
      : []),
    ...(openInTab ? [{ label: trans.__('Open in a tab'), run: openInTab }] : []),
    ...(openSettings ? [{ label: trans.__('Settings'), run: openSettings }] : [])
  ];
}

function Items({ items, close }: { items: readonly Item[]; close: () => void }): React.JSX.Element {
  const list = React.useRef<HTMLDivElement>(null);
  const focus = (index: number): void => list.current?.querySelectorAll<HTMLElement>('[role=menuitem]')[index]?.focus();
  React.useEffect(() => focus(0), []);
  const onKeyDown = (event: React.KeyboardEvent, index: number): void => {
    const step = { ArrowDown: 1, ArrowUp: items.length - 1 }[event.key];
    if (step) {
      event.preventDefault();
      focus((index + step) % items.length);
    }
  };
  return (
    <div ref={list} role="menu" className="pico-list">
      {items.map(({ label, run }, index) => (
        <button
          key={label}
          type="button"
          role="menuitem"
          tabIndex={-1}
          className="pico-menu-item"
          onKeyDown={event => onKeyDown(event, index)}
          onClick={() => {
            close();
            run();
          }}
        >
          {label}
        </button>
      ))}
    </div>
  );
}
