/** Lists the saved conversations, and lets the user search, open, rename and delete them. */

import * as React from 'react';
import { ConversationEntry, Library, search } from '../model/library';
import { Icon } from './icons';
import { IconButton, Popover, useFocus } from './controls';
import { Translator, useObservable, useServices } from './services';

export function History({ library }: { library: Library }): React.JSX.Element {
  const { trans } = useServices();
  return (
    <Popover kind="dialog" icon="history" label={trans.__('Conversations')} onOpen={() => void library.refresh()}>
      {close => <Conversations library={library} close={close} />}
    </Popover>
  );
}

function Conversations({ library, close }: { library: Library; close: () => void }): React.JSX.Element {
  const { chat, trans } = useServices();
  const { entries, loading, problem } = useObservable(library.state);
  const { file } = useObservable(chat.state);
  const [query, setQuery] = React.useState('');
  const input = useFocus<HTMLInputElement>();
  const found = search(entries, query);
  return (
    <>
      <div className="pico-search">
        <Icon name="search" size={14} />
        <input
          ref={input}
          dir="auto"
          value={query}
          placeholder={trans.__('Find a conversation')}
          aria-label={trans.__('Find a conversation')}
          onChange={event => setQuery(event.target.value)}
        />
      </div>
      <ul className="pico-list" aria-label={trans.__('Conversations')}>
        {found.map(entry => (
          <ConversationRow key={entry.name} entry={entry} isOpen={entry.name === file} onOpen={() => void chat.open(entry.name).then(close)} />
        ))}
      </ul>
      {!found.length && (
        <p className="pico-note">{problem ?? emptyText(loading, query, trans)}</p>
      )}
    </>
  );
}

function emptyText(loading: boolean, query: string, trans: Translator): string {
  if (loading) {
    return trans.__('Loading…');
  }
  return query ? trans.__('No conversation matches.') : trans.__('No saved conversations yet.');
}

interface ConversationRowProps {
  readonly entry: ConversationEntry;
  readonly isOpen: boolean;
  readonly onOpen: () => void;
}

function ConversationRow({ entry, isOpen, onOpen }: ConversationRowProps): React.JSX.Element {
  const { chat, trans } = useServices();
  const [mode, setMode] = React.useState<'row' | 'renaming' | 'deleting'>('row');
  if (mode === 'renaming') {
    return <Renaming entry={entry} onClose={() => setMode('row')} />;
  }
  if (mode === 'deleting') {
    return (
      <li className="pico-row pico-row-line">
        <span className="pico-row-name">{trans.__('Delete permanently?')}</span>
        <span className="pico-spacer" />
        <button type="button" className="pico-button" onClick={() => setMode('row')}>
          {trans.__('Cancel')}
        </button>
        <button type="button" className="pico-button pico-danger" onClick={() => void chat.remove(entry.name)}>
          {trans.__('Delete')}
        </button>
      </li>
    );
  }
  return (
    <li className={`pico-row pico-row-line${isOpen ? ' pico-cursor' : ''}`}>
      <button type="button" className="pico-row-button" aria-current={isOpen || undefined} onClick={onOpen}>
        <span className="pico-row-name" dir="auto">{entry.title}</span>
        <span className="pico-muted">{new Date(entry.changed).toLocaleString([], { dateStyle: 'medium', timeStyle: 'short' })}</span>
      </button>
      <IconButton icon="edit" size={14} label={trans.__('Rename %1', entry.title)} onClick={() => setMode('renaming')} />
      <IconButton icon="trash" size={14} label={trans.__('Delete %1', entry.title)} onClick={() => setMode('deleting')} />
    </li>
  );
}

function Renaming({ entry, onClose }: { entry: ConversationEntry; onClose: () => void }): React.JSX.Element {
  const { chat, trans } = useServices();
  const [title, setTitle] = React.useState(entry.title);
  const input = useFocus<HTMLInputElement>();
  const onKeyDown = (event: React.KeyboardEvent): void => {
    if (event.key === 'Enter' && title.trim()) {
      void chat.rename(entry.name, title.trim()).then(onClose);
    } else if (event.key === 'Escape') {
      event.stopPropagation();
      onClose();
    }
  };
  return (
    <li className="pico-row">
      <input ref={input} className="pico-input" dir="auto" value={title} aria-label={trans.__('Title')} onChange={event => setTitle(event.target.value)} onKeyDown={onKeyDown} />
    </li>
  );
}
