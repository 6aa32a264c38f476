/** Which model answers: those in memory, those on disk, what they can do. */

import * as React from 'react';
import { bytes } from '../model/models';
import { Model } from '../model/types';
import { Icon, IconName } from './icons';
import { IconButton, Popover, useFocus } from './parts';
import { useObservable, useServices } from './services';

export function ModelPicker(): React.JSX.Element {
  const { chat, trans } = useServices();
  const { chosen, loading, models } = useObservable(chat.models.state);
  const model = chat.models.chosen;
  const name = chosen || (loading ? trans.__('Looking for models…') : trans.__('No model'));
  const face = (
    <>
      <Dot model={model} />
      <span className="pico-picker-name">{name}</span>
      {model?.quantization && <span className="pico-muted pico-wide-only">{model.quantization}</span>}
      <Icon name="down" size={14} />
    </>
  );
  return (
    <Popover kind="dialog" className="pico-picker" label={trans.__('Model: %1', name)} face={face} onOpen={() => void chat.models.refresh()}>
      {close => <Chooser models={models} close={close} />}
    </Popover>
  );
}

function Dot({ model }: { model: Model | undefined }): React.JSX.Element {
  const { chat } = useServices();
  const { moving } = useObservable(chat.models.state);
  const state = !model ? 'none' : moving === model.name ? 'moving' : model.resident !== null ? 'loaded' : 'disk';
  return <span className={`pico-dot pico-dot-${state}`} aria-hidden="true" />;
}

function Chooser({ models, close }: { models: readonly Model[]; close: () => void }): React.JSX.Element {
  const { chat, trans } = useServices();
  const { chosen, problem } = useObservable(chat.models.state);
  const [filter, setFilter] = React.useState('');
  const [cursor, setCursor] = React.useState(0);
  const input = useFocus<HTMLInputElement>();
  const listId = React.useId();
  const matching = models.filter(({ name }) => name.toLowerCase().includes(filter.toLowerCase()));
  const loaded = matching.filter(({ resident }) => resident !== null);
  const shown = [...loaded, ...matching.filter(({ resident }) => resident === null)];
  const choose = (model: Model): void => {
    chat.models.choose(model.name);
    close();
  };
  const onKeyDown = (event: React.KeyboardEvent): void => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      setCursor(Math.max(0, Math.min(shown.length - 1, cursor + step)));
    } else if (event.key === 'Enter' && shown[cursor]) {
      event.preventDefault();
      choose(shown[cursor]);
    }
  };
  const group = (title: string, from: number, some: readonly Model[]): React.ReactNode =>
    some.length > 0 && (
      <div role="group" aria-label={title}>
        <div className="pico-group-title" aria-hidden="true">
          {title}
        </div>
        {some.map((model, index) => (
          <Row
            key={model.name}
            id={`${listId}-${from + index}`}
            model={model}
            isChosen={model.name === chosen}
            isAtCursor={from + index === cursor}
            onPoint={() => setCursor(from + index)}
            onChoose={() => choose(model)}
          />
        ))}
      </div>
    );
  const atCursor = shown[cursor];
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
            setCursor(0);
          }}
          onKeyDown={onKeyDown}
        />
        <IconButton icon="redo" size={14} label={trans.__('Look again')} onClick={() => void chat.models.refresh()} />
      </div>
      <div id={listId} role="listbox" aria-label={trans.__('Models')} className="pico-list">
        {group(trans.__('In memory'), 0, loaded)}
        {group(trans.__('On disk'), loaded.length, shown.slice(loaded.length))}
      </div>
      {!shown.length && <p className="pico-note">{problem ?? trans.__('No model has this in its name.')}</p>}
      {atCursor && <Residency model={atCursor} />}
    </>
  );
}

interface RowProps {
  readonly id: string;
  readonly model: Model;
  readonly isChosen: boolean;
  readonly isAtCursor: boolean;
  readonly onPoint: () => void;
  readonly onChoose: () => void;
}

function Row({ id, model, isChosen, isAtCursor, onPoint, onChoose }: RowProps): React.JSX.Element {
  const { trans } = useServices();
  const badges: readonly [string, IconName, string][] = [
    ['thinking', 'bulb', trans.__('Reasoning')],
    ['vision', 'image', trans.__('Images')],
    ['video', 'video', trans.__('Video')],
    ['tools', 'tools', trans.__('Tools')]
  ];
  return (
    <div
      id={id}
      role="option"
      aria-selected={isChosen}
      className={`pico-row${isAtCursor ? ' pico-cursor' : ''}`}
      onPointerMove={onPoint}
      onClick={onChoose}
    >
      <div className="pico-row-line">
        <Dot model={model} />
        <span className="pico-row-name">{model.name}</span>
        <span className="pico-muted">{model.quantization}</span>
        <span className="pico-spacer" />
        <span className="pico-muted">{bytes(model.resident ?? model.size)}</span>
        {isChosen && <Icon name="check" />}
      </div>
      <div className="pico-badges">
        {badges.map(
          ([capability, icon, label]) =>
            model.capabilities.includes(capability) && (
              <span key={capability} className="pico-badge">
                <Icon name={icon} size={12} /> {label}
              </span>
            )
        )}
        {model.context > 0 && <span className="pico-badge">{trans.__('%1K context', Math.round(model.context / 1024))}</span>}
      </div>
    </div>
  );
}

/** Whether the model is in memory, and how to change that. */
function Residency({ model }: { model: Model }): React.JSX.Element {
  const { chat, trans } = useServices();
  const { moving } = useObservable(chat.models.state);
  const isMoving = moving === model.name;
  const isLoaded = model.resident !== null;
  const fact = isMoving
    ? trans.__('One moment…')
    : isLoaded
      ? trans.__('%1 takes %2 of memory.', model.name, bytes(model.resident ?? 0))
      : trans.__('%1 loads at its first question.', model.name);
  return (
    <div className="pico-residency">
      <span>{fact}</span>
      <button
        type="button"
        className="pico-button"
        disabled={moving !== null}
        onClick={() => void (isLoaded ? chat.models.unload(model.name) : chat.models.load(model.name))}
      >
        {isLoaded ? trans.__('Unload') : trans.__('Load now')}
      </button>
    </div>
  );
}
