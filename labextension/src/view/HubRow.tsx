/** Describes a model of the hub: what it is good at, its sizes, whether it fits, and the progress of its download. */

import * as React from 'react';
import { Download, HubModel, isActive, localModel, shortName } from '../model/hub';
import { formatBytes, formatRoundedUp } from '../model/memory';
import { Badges } from './Badges';
import { ConfirmedAction, LinkedText } from './controls';
import { DownloadProgress } from './DownloadProgress';
import { Icon, IconName } from './icons';
import { Translator, useObservable, useServices } from './services';

interface HubRowProps {
  readonly model: HubModel;
  /** Called after the user has chosen the model for the conversation. */
  readonly onUse: () => void;
}

export function HubRow({ model: listed, onUse }: HubRowProps): React.JSX.Element {
  const { chat, trans } = useServices();
  const { downloads } = chat.models;
  const { described, failure } = useObservable(downloads.state);
  const exact = described.get(listed.model);
  // The description is older than the list, so only the list says whether the model is present.
  const model = exact ? { ...exact, title: listed.title, description: listed.description, isPresent: listed.isPresent } : listed;
  const download = downloads.find(model.model);
  const titleId = React.useId();
  return (
    <li className="pico-hub-row" aria-labelledby={titleId}>
      <div className="pico-hub-title" id={titleId}>
        {model.title}
      </div>
      {model.title !== model.model && <div className="pico-hub-repo">{model.model}</div>}
      {model.description && <p>{model.description}</p>}
      <div className="pico-hub-facts">{facts(model, trans).join(' · ')}</div>
      <Badges capabilities={model.capabilities}>
        {model.isGated && (
          <span className="pico-badge" title={trans.__('The hub gives the files only to accounts with access')}>
            <Icon name="lock" size={12} /> {trans.__('Gated')}
          </span>
        )}
      </Badges>
      {!model.isPresent && <HubFitLine model={model} />}
      {model.problem && <p className="pico-failed">{trans.__('This server cannot run it: %1', model.problem)}</p>}
      {download && <DownloadProgress download={download} />}
      {failure?.model === model.model && (
        <p className="pico-failed" role="alert">
          <LinkedText text={failure.reason} />
        </p>
      )}
      <HubActions model={model} download={download} onUse={onUse} />
    </li>
  );
}

function facts(model: HubModel, trans: Translator): string[] {
  const { diskBytes, license, memoryBytes, parameters, quantization } = model;
  return [
    diskBytes === null ? '' : trans.__('%1 on disk', formatBytes(diskBytes)),
    memoryBytes === null ? '' : trans.__('%1 in memory', formatBytes(memoryBytes)),
    parameters,
    quantization,
    license && trans.__('Licence: %1', license)
  ].filter(Boolean);
}

function HubFitLine({ model }: { model: HubModel }): React.JSX.Element | null {
  const { trans } = useServices();
  const { fit, memoryBytes } = model;
  if (!fit || memoryBytes === null) {
    return null;
  }
  const size = formatRoundedUp(memoryBytes);
  const [look, icon, text]: [string, IconName, string] = {
    yes: ['fits', 'check', trans.__('Fits')] as [string, IconName, string],
    tight: ['later', 'history', trans.__('Tight: needs %1 of memory. Unload models or close programs first.', size)] as [string, IconName, string],
    no: ['never', 'alert', trans.__('Too large for this machine: needs %1 of memory', size)] as [string, IconName, string]
  }[fit];
  return (
    <div className={`pico-fit pico-fit-${look}`}>
      <Icon name={icon} size={12} />
      <span>{text}</span>
    </div>
  );
}

interface HubActionsProps extends HubRowProps {
  readonly download: Download | undefined;
}

/** The first button stays the same element while its action changes, so that it keeps the focus. */
function HubActions({ model, download, onUse }: HubActionsProps): React.JSX.Element {
  const { chat, trans } = useServices();
  const { downloads } = chat.models;
  const { busy } = useObservable(downloads.state);
  const button = React.useRef<HTMLButtonElement>(null);
  const { models, chosenName } = useObservable(chat.models.state);
  const local = localModel(model.model, models);
  const isBusy = busy.includes(model.model);
  const isPresent = model.isPresent || download?.state === 'complete';
  const name = shortName(model.model);
  const main = ((): [string, string, () => void, boolean?] => {
    if (isPresent) {
      const use = (): void => {
        chat.models.choose(local?.name ?? chosenName);
        if (download) {
          void downloads.cancel(download.model);
        }
        onUse();
      };
      return [trans.__('Use it'), trans.__('Use %1', name), use, !local];
    }
    if (download && isActive(download)) {
      return [trans.__('Pause'), trans.__('Pause %1', name), () => void downloads.pause(model.model)];
    }
    const start = (): void => void downloads.start(model.model);
    switch (download?.state) {
      case 'paused':
        return [trans.__('Resume'), trans.__('Resume %1', name), start];
      case 'failed':
        return [trans.__('Try again'), trans.__('Try again: %1', name), start];
      default:
        return [trans.__('Download'), trans.__('Download %1', name), start, !!model.problem];
    }
  })();
  const [text, label, act, isDisabled = false] = main;
  const isStart = !isPresent && !download;
  return (
    <div className="pico-hub-actions">
      <button ref={button} type="button" className={`pico-button${isPresent || isStart ? ' pico-primary' : ''}`} aria-label={label} disabled={isDisabled} onClick={() => !isBusy && act()}>
        {isStart && <Icon name="download" size={14} />} {text}
      </button>
      {isStart && model.diskBytes === null && !model.problem && (
        <button type="button" className="pico-link" aria-label={trans.__('Size and fit of %1', name)} onClick={() => !isBusy && void downloads.describe(model.model)}>
          {isBusy ? trans.__('Reading…') : trans.__('Size and fit')}
        </button>
      )}
      {download && !isPresent && (
        <ConfirmedAction
          action={trans.__('Delete')}
          label={trans.__('Cancel the download of %1', name)}
          icon="close"
          question={trans.__('Cancel and delete %1?', formatBytes(download.completed))}
          onConfirm={() => {
            button.current?.focus();
            void downloads.cancel(model.model);
          }}
        />
      )}
      {isPresent && !local && <span className="pico-muted">{unusableText(model, trans)}</span>}
      {isPresent && (local?.source ?? 'hub') === 'hub' && <DeleteModel name={model.model} shown={name} size={local?.size ?? model.diskBytes ?? 0} onConfirm={() => button.current?.focus()} />}
    </div>
  );
}

/** Why a model that is on this machine cannot be chosen for a conversation. */
function unusableText({ capabilities }: HubModel, trans: Translator): string {
  return capabilities.includes('embedding') && !capabilities.includes('completion')
    ? trans.__('It makes embeddings, and does not chat. Programs use it with v1/embeddings.')
    : trans.__('It is not in the list of models yet.');
}

interface DeleteModelProps {
  readonly name: string;
  /** The name that the user sees. */
  readonly shown: string;
  readonly size: number;
  readonly onConfirm?: () => void;
}

/** Deletes a model after a question that says what this frees. */
export function DeleteModel({ name, shown, size, onConfirm }: DeleteModelProps): React.JSX.Element {
  const { chat, trans } = useServices();
  return (
    <ConfirmedAction
      action={trans.__('Delete')}
      label={trans.__('Delete %1', shown)}
      icon="trash"
      question={trans.__('Delete %1? This frees %2.', shown, formatBytes(size))}
      onConfirm={() => {
        onConfirm?.();
        void chat.models.downloads.remove(name, size);
      }}
    />
  );
}
