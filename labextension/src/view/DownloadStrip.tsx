/** Shows the downloads above the conversation: the progress, and what is complete or failed. */

import * as React from 'react';
import { Download, isActive, localModel, shortName } from '../model/hub';
import { IconButton } from './controls';
import { DownloadProgress } from './DownloadProgress';
import { Translator, useObservable, useServices } from './services';

export function DownloadStrip({ onOpen }: { onOpen: () => void }): React.JSX.Element {
  const { chat, trans } = useServices();
  const { downloads } = useObservable(chat.models.downloads.state);
  const shown = downloads.filter(({ state }) => state !== 'paused');
  return (
    <>
      {shown.map(download => (
        <div key={download.model} className="pico-strip">
          <div className="pico-strip-text">
            <span>{stripText(download, trans)}</span>
            {isActive(download) && <DownloadProgress download={download} />}
          </div>
          {download.state === 'complete' ? (
            <Completed download={download} />
          ) : (
            <button type="button" className="pico-button" aria-label={trans.__('Show the download of %1', shortName(download.model))} onClick={onOpen}>
              {trans.__('Show')}
            </button>
          )}
        </div>
      ))}
      <span className="pico-for-readers" role="status">
        {shown.filter(download => !isActive(download)).map(download => stripText(download, trans)).join(' ')}
      </span>
    </>
  );
}

function stripText(download: Download, trans: Translator): string {
  const name = shortName(download.model);
  switch (download.state) {
    case 'complete':
      return trans.__('%1 is downloaded.', name);
    case 'failed':
      return trans.__('The download of %1 failed.', name);
    default:
      return trans.__('Downloading %1', name);
  }
}

/** A complete download never changes the chosen model by itself. */
function Completed({ download: { model } }: { download: Download }): React.JSX.Element {
  const { chat, trans } = useServices();
  const { models } = useObservable(chat.models.state);
  const local = localModel(model, models);
  const dismiss = (): void => void chat.models.downloads.cancel(model);
  const use = (): void => {
    chat.models.choose(local?.name ?? '');
    dismiss();
  };
  return (
    <>
      {local && (
        <button type="button" className="pico-button pico-primary" aria-label={trans.__('Use %1', shortName(model))} onClick={use}>
          {trans.__('Use it')}
        </button>
      )}
      <IconButton icon="close" size={14} label={trans.__('Dismiss %1', shortName(model))} onClick={dismiss} />
    </>
  );
}
