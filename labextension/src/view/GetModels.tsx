/** Lets the user find, download and delete models. Covers the conversation. */

import * as React from 'react';
import { DownloadsState, MAX_FOUND } from '../model/downloads';
import { groupByMachine, HubModel, shortName } from '../model/hub';
import { formatBytes, formatRoundedDown } from '../model/memory';
import { CopyButton, IconButton, useFocus } from './controls';
import { HubRow } from './HubRow';
import { Icon } from './icons';
import { Translator, useObservable, useServices } from './services';

const PULL = 'jupyter pico pull mlx-community/Qwen3-4B-Instruct-2507-4bit';

/** Opens the view. */
export const GetModelsContext = React.createContext<() => void>(() => undefined);

export function GetModels({ onClose }: { onClose: () => void }): React.JSX.Element {
  const { chat, trans } = useServices();
  const { downloads } = chat.models;
  const state = useObservable(downloads.state);
  const input = useFocus<HTMLInputElement>();
  const titleId = React.useId();
  React.useEffect(() => {
    void downloads.loadRecommended();
    void downloads.refresh();
  }, [downloads]);
  const onKeyDown = (event: React.KeyboardEvent): void => {
    if (event.key === 'Escape') {
      event.stopPropagation();
      onClose();
    }
  };
  return (
    <div className="pico-get" role="dialog" aria-labelledby={titleId} onKeyDown={onKeyDown}>
      <div className="pico-get-head">
        <h2 id={titleId}>{trans.__('Get a model')}</h2>
        <span className="pico-spacer" />
        <IconButton icon="close" label={trans.__('Close')} onClick={onClose} />
      </div>
      <div className="pico-search">
        <Icon name="search" size={14} />
        <input
          ref={input}
          type="search"
          value={state.search?.words ?? ''}
          placeholder={trans.__('Search Hugging Face')}
          aria-label={trans.__('Search Hugging Face')}
          onChange={event => downloads.search(event.target.value)}
        />
      </div>
      <div className="pico-get-body" tabIndex={0} role="group" aria-label={trans.__('Models to download')}>
        <Notice state={state} />
        <Lists state={state} onUse={onClose} />
        <ByCommand />
      </div>
    </div>
  );
}

/** Announces what was deleted, found, or why nothing is shown. */
function Notice({ state }: { state: DownloadsState }): React.JSX.Element {
  const { trans } = useServices();
  const text = noticeText(state, trans);
  return (
    <p className="pico-note" role="status">
      {text}
    </p>
  );
}

function noticeText({ deleted, hub, problem, recommendation, search, silence }: DownloadsState, trans: Translator): string {
  if (deleted) {
    return trans.__('%1 is deleted. This freed %2.', shortName(deleted.model), formatBytes(deleted.freed));
  }
  if (hub === 'none') {
    return trans.__('This page reaches no Jupyter server with pico_jupyter, so it cannot download models. In a cell: %pico pull NAME');
  }
  if (silence) {
    return trans.__('The server does not answer: %1', silence);
  }
  if (search) {
    return search.problem ?? searchText(search.isSearching, search.found.length, trans);
  }
  if (problem) {
    return problem;
  }
  return recommendation
    ? trans.__('This machine has %1 of memory, %2 of it free.', formatBytes(recommendation.total), formatRoundedDown(recommendation.free))
    : trans.__('Loading…');
}

function searchText(isSearching: boolean, count: number, trans: Translator): string {
  if (isSearching) {
    return trans.__('Searching…');
  }
  if (count === 1) {
    return trans.__('1 model found');
  }
  return count ? trans.__('%1 models found', count) : trans.__('No model in MLX format matches.');
}

function Lists({ state, onUse }: { state: DownloadsState; onUse: () => void }): React.JSX.Element {
  const { chat, trans } = useServices();
  const { downloads, recommendation, search } = state;
  const groups = !search && recommendation ? groupByMachine(recommendation) : null;
  const listed = search?.found ?? recommendation?.models ?? [];
  const others = downloads.filter(({ model }) => !listed.some(other => other.model === model)).map(({ model }) => unknownModel(model));
  const sections: readonly [string, readonly HubModel[]][] = [
    [trans.__('Downloads'), others],
    [trans.__('Found'), search?.found ?? []],
    [trans.__('Best for this machine'), groups?.best ?? []],
    [trans.__('Smaller and faster'), groups?.smaller ?? []],
    [trans.__('For machines with more memory'), groups?.larger ?? []]
  ];
  return (
    <>
      {sections.map(
        ([title, models]) =>
          models.length > 0 && (
            <section key={title} aria-label={title}>
              <h3>{title}</h3>
              <ul>
                {models.map(model => (
                  <HubRow key={model.model} model={model} onUse={onUse} />
                ))}
              </ul>
            </section>
          )
      )}
      {search && !search.problem && search.found.length >= search.limit && search.limit < MAX_FOUND && (
        <button type="button" className="pico-button" disabled={search.isSearching} onClick={() => void chat.models.downloads.searchMore()}>
          {trans.__('Show more')}
        </button>
      )}
    </>
  );
}

/** A download of a model that no list describes. */
function unknownModel(model: string): HubModel {
  const texts = { title: shortName(model), description: '', license: '', parameters: '', quantization: '', problem: '' };
  const sizes = { diskBytes: null, memoryBytes: null, machineGb: null, fit: null };
  return { model, ...texts, ...sizes, capabilities: [], isPresent: false, isGated: false };
}

function ByCommand(): React.JSX.Element {
  const { trans } = useServices();
  return (
    <details className="pico-more-models">
      <summary>{trans.__('Other ways')}</summary>
      <p>{trans.__('In a terminal:')}</p>
      <div className="pico-command">
        <code>{PULL}</code>
        <CopyButton label={trans.__('Copy command')} text={PULL} size={14} />
      </div>
      <p>{trans.__('Models in the Hugging Face cache and in the folder of LM Studio are listed automatically. PICO_JUPYTER_MODEL_PATH names other folders of MLX models.')}</p>
    </details>
  );
}
