/** Lets the user choose, load and unload models, and shows what they support and whether they fit into memory. */

import * as React from 'react';
import { formatBytes, formatRoundedDown, formatRoundedUp, Memory, Need } from '../model/memory';
import { SkippedFolder } from '../model/hub';
import { Model } from '../model/types';
import { Badges } from './Badges';
import { GetModelsContext } from './GetModels';
import { DeleteModel } from './HubRow';
import { Icon } from './icons';
import { LoadProgress } from './LoadProgress';
import { IconButton, Popover, useFocus } from './controls';
import { Translator, useObservable, useServices } from './services';

export function ModelPicker(): React.JSX.Element {
  const { chat, trans } = useServices();
  const { chosenName, loading, models } = useObservable(chat.models.state);
  const model = chat.models.chosen;
  const name = chosenName || (loading ? trans.__('Loading models…') : trans.__('No model'));
  const face = (
    <>
      <Dot model={model} />
      <span className="pico-picker-name">{name}</span>
      {model?.quantization && <span className="pico-muted pico-wide-only">{model.quantization}</span>}
      <Icon name="down" size={14} />
    </>
  );
  const onOpen = (): void => {
    void chat.models.refresh();
    void chat.models.refreshSkipped();
  };
  return (
    <Popover kind="dialog" className="pico-picker" label={trans.__('Model: %1', name)} face={face} onOpen={onOpen}>
      {close => <ModelList models={models} close={close} />}
    </Popover>
  );
}

function Dot({ model }: { model: Model | undefined }): React.JSX.Element {
  const { chat } = useServices();
  const { memory, busy } = useObservable(chat.models.state);
  return <span className={`pico-dot pico-dot-${dotState(model, busy, memory)}`} aria-hidden="true" />;
}

function dotState(model: Model | undefined, busy: readonly string[], memory: Memory | null): string {
  if (!model || exceedsBudget(model, memory)) {
    return 'none';
  }
  if (busy.includes(model.name)) {
    return 'busy';
  }
  return model.resident === null ? 'disk' : 'loaded';
}

function ModelList({ models, close }: { models: readonly Model[]; close: () => void }): React.JSX.Element {
  const { chat, trans } = useServices();
  const { chosenName, memory, problem, skipped } = useObservable(chat.models.state);
  const openGetModels = React.useContext(GetModelsContext);
  const [filter, setFilter] = React.useState('');
  const [highlighted, setHighlighted] = React.useState(chosenName);
  const input = useFocus<HTMLInputElement>();
  const listId = React.useId();
  const matching = models.filter(({ name }) => name.toLowerCase().includes(filter.toLowerCase()));
  const loaded = matching.filter(({ resident }) => resident !== null);
  const shown = [...loaded, ...matching.filter(({ resident }) => resident === null)];
  // A model that loads or unloads moves in the list, and its highlight moves with it.
  const cursor = Math.max(0, shown.findIndex(({ name }) => name === highlighted));
  const atCursor = shown[cursor];
  /** A model that is too large cannot be chosen. Highlighting it shows that it does not fit. */
  const choose = (model: Model): void => {
    setHighlighted(model.name);
    if (!exceedsBudget(model, memory)) {
      chat.models.choose(model.name);
      close();
    }
  };
  const onKeyDown = (event: React.KeyboardEvent): void => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      setHighlighted(shown[Math.max(0, Math.min(shown.length - 1, cursor + step))]?.name ?? '');
    } else if (event.key === 'Enter' && atCursor) {
      event.preventDefault();
      choose(atCursor);
    }
  };
  const group = (title: string, from: number, members: readonly Model[]): React.ReactNode =>
    members.length > 0 && (
      <div role="group" aria-label={title}>
        <div className="pico-group-title" aria-hidden="true">
          {title}
        </div>
        {members.map((model, index) => (
          <ModelRow
            key={model.name}
            id={`${listId}-${from + index}`}
            model={model}
            isChosen={model.name === chosenName}
            isAtCursor={from + index === cursor}
            onPoint={() => setHighlighted(model.name)}
            onChoose={() => choose(model)}
          />
        ))}
      </div>
    );
  return (
    <>
      <div className="pico-search">
        <Icon name="search" size={14} />
        <input
          ref={input}
          value={filter}
          placeholder={trans.__('Find a model')}
          role="combobox"
          aria-label={trans.__('Find a model')}
          aria-expanded="true"
          aria-controls={listId}
          aria-activedescendant={atCursor && `${listId}-${cursor}`}
          onChange={event => {
            setFilter(event.target.value);
            setHighlighted('');
          }}
          onKeyDown={onKeyDown}
        />
        <IconButton icon="redo" size={14} label={trans.__('Refresh models')} onClick={() => void chat.models.refresh()} />
      </div>
      {/* A click in the list does not move the focus from the search field. */}
      <div id={listId} role="listbox" aria-label={trans.__('Models')} className="pico-list" onMouseDown={event => event.preventDefault()}>
        {group(trans.__('In memory'), 0, loaded)}
        {group(trans.__('On disk'), loaded.length, shown.slice(loaded.length))}
      </div>
      {!shown.length && <p className="pico-note">{problem ?? trans.__('No model matches.')}</p>}
      {skipped.length > 0 && <SkippedFolders folders={skipped} />}
      {atCursor && <LoadControl model={atCursor} onDelete={() => input.current?.focus()} />}
      <div className="pico-picker-foot">
        <button
          type="button"
          className="pico-button"
          onClick={() => {
            close();
            openGetModels();
          }}
        >
          <Icon name="download" size={14} /> {trans.__('Get a model')}
        </button>
      </div>
    </>
  );
}

/** Says why folders with files of a model are not in the list. */
function SkippedFolders({ folders }: { folders: readonly SkippedFolder[] }): React.JSX.Element {
  const { trans } = useServices();
  return (
    <details className="pico-skipped">
      <summary>{folders.length === 1 ? trans.__('1 folder is not listed') : trans.__('%1 folders are not listed', folders.length)}</summary>
      <ul>
        {folders.map(({ name, path, reason }) => (
          <li key={path} title={path}>
            <strong>{name}</strong>: {reason}
          </li>
        ))}
      </ul>
    </details>
  );
}

interface ModelRowProps {
  readonly id: string;
  readonly model: Model;
  readonly isChosen: boolean;
  readonly isAtCursor: boolean;
  readonly onPoint: () => void;
  readonly onChoose: () => void;
}

function ModelRow({ id, model, isChosen, isAtCursor, onPoint, onChoose }: ModelRowProps): React.JSX.Element {
  const { chat, trans } = useServices();
  const { memory, busy } = useObservable(chat.models.state);
  const isLoading = model.resident === null && busy.includes(model.name);
  const row = React.useRef<HTMLDivElement>(null);
  React.useEffect(() => {
    if (isAtCursor) {
      row.current?.scrollIntoView({ block: 'nearest' });
    }
  }, [isAtCursor, isLoading]);
  return (
    <div
      ref={row}
      id={id}
      role="option"
      aria-selected={isChosen}
      aria-disabled={exceedsBudget(model, memory)}
      className={`pico-row${isAtCursor ? ' pico-cursor' : ''}`}
      onPointerMove={onPoint}
      onClick={onChoose}
    >
      <div className="pico-row-line">
        <Dot model={model} />
        <span className="pico-row-name">{model.name}</span>
        <span className="pico-muted">{model.quantization}</span>
        <span className="pico-spacer" />
        <span className="pico-muted pico-size">{formatBytes(model.resident ?? model.size)}</span>
        {isChosen && <Icon name="check" />}
      </div>
      <Badges capabilities={model.capabilities}>
        {model.context > 0 && <span className="pico-badge">{trans.__('%1K context', Math.round(model.context / 1024))}</span>}
      </Badges>
      {isLoading ? <LoadProgress model={model.name} /> : <FitLine model={model} />}
    </div>
  );
}

/** Shows whether a model on disk fits into memory. */
function FitLine({ model }: { model: Model }): React.JSX.Element | null {
  const { chat, trans } = useServices();
  const { memory } = useObservable(chat.models.state);
  const need = memory?.needs.get(model.name);
  if (!memory || !need || model.resident !== null || need.fit === 'loaded') {
    return null;
  }
  const look = need.fit === 'fits' && need.isTight ? 'later' : need.fit;
  return (
    <div className={`pico-fit pico-fit-${look}`}>
      <Icon name={look === 'fits' ? 'check' : look === 'later' ? 'history' : 'alert'} size={12} />
      <span>{fitText(need, memory, trans)}</span>
    </div>
  );
}

function fitText({ size, fit, isTight, unload }: Need, { available, budget }: Memory, trans: Translator): string {
  if (isTight && fit === 'fits') {
    return unload.length
      ? trans.__('Tight: needs %1 of memory. Unload %2 first.', formatRoundedUp(size), unload.join(', '))
      : trans.__('Tight: needs %1 of memory. Close other programs first.', formatRoundedUp(size));
  }
  switch (fit) {
    case 'loaded':
    case 'fits':
      return trans.__('Fits: needs %1 of memory', formatBytes(size));
    case 'later':
      return trans.__('Needs %1, %2 available', formatRoundedUp(size), formatRoundedDown(available));
    case 'never':
      return trans.__('Too large for this machine: needs %1 of %2', formatRoundedUp(size), formatRoundedDown(budget));
  }
}

function exceedsBudget(model: Model, memory: Memory | null): boolean {
  return memory?.needs.get(model.name)?.fit === 'never';
}

/** Shows the model's memory use, with a button that loads or unloads it. */
function LoadControl({ model, onDelete }: { model: Model; onDelete: () => void }): React.JSX.Element {
  const { chat, trans } = useServices();
  const { failure, memory, busy } = useObservable(chat.models.state);
  const isLoaded = model.resident !== null;
  const { deleted, failure: refusal } = useObservable(chat.models.downloads.state);
  const reason = [failure, refusal].find(failed => failed?.model === model.name)?.reason;
  return (
    <div className="pico-residency">
      {memory && <MemoryGauge model={model} memory={memory} />}
      <div className="pico-residency-line">
        <span role="status" className={reason ? 'pico-failed' : ''}>
          {deleted && trans.__('%1 is deleted. This freed %2.', deleted.model, formatBytes(deleted.freed)) + ' '}
          {reason ?? residencyText(model, memory, busy.includes(model.name), trans)}
          {model.source === 'folder' && ` ${trans.__('It is in a folder of yours, so it is deleted there.')}`}
        </span>
        {(isLoaded || !exceedsBudget(model, memory)) && (
          <button
            type="button"
            className="pico-button"
            disabled={busy.includes(model.name)}
            onClick={() => void (isLoaded ? chat.models.unload(model.name) : chat.models.load(model.name))}
          >
            {isLoaded ? trans.__('Unload') : trans.__('Load now')}
          </button>
        )}
        {model.source === 'hub' && <DeleteModel key={model.name} name={model.name} shown={model.name} size={model.size} onConfirm={onDelete} />}
      </div>
    </div>
  );
}

function residencyText(model: Model, memory: Memory | null, isBusy: boolean, trans: Translator): string {
  const need = memory?.needs.get(model.name);
  if (isBusy) {
    return model.resident === null ? trans.__('Loading %1…', model.name) : trans.__('Unloading %1…', model.name);
  }
  if (model.resident !== null) {
    return trans.__('%1 uses %2 of memory.', model.name, formatBytes(model.resident));
  }
  switch (memory && need?.fit) {
    case 'never':
      return trans.__('%1 does not fit into memory. Choose a smaller or more strongly quantised model.', model.name);
    case 'later':
      return trans.__('%1 can be loaded after the other answers are complete and their models can be unloaded.', model.name);
    default:
      return trans.__('%1 loads when you send a message.', model.name);
  }
}

/** Shows the memory in use, and the memory that loading this model would add. */
function MemoryGauge({ model, memory }: { model: Model; memory: Memory }): React.JSX.Element {
  const { trans } = useServices();
  const { budget, used } = memory;
  const need = memory.needs.get(model.name);
  const needed = !need || need.fit === 'loaded' ? 0 : Math.min(need.size, budget);
  const percent = (count: number): string => `${(100 * count) / Math.max(1, budget)}%`;
  return (
    <div className="pico-memory">
      <div className="pico-bar" aria-hidden="true">
        {used > 0 && <i style={{ width: percent(used) }} />}
        {needed > 0 && (
          <i className={`pico-wanted pico-wanted-${need?.fit}`} style={{ width: percent(needed), left: percent(Math.min(used, budget - needed)) }} />
        )}
      </div>
      <div className="pico-memory-words">
        <span>{trans.__('%1 of %2 of memory used', formatBytes(used), formatRoundedDown(budget))}</span>
        {need?.fit === 'fits' && <span>{trans.__('%1 left for conversations', formatBytes(memory.available - needed))}</span>}
      </div>
    </div>
  );
}
