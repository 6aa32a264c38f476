/** Shows the progress of a download: bytes, rate and time left. */

import * as React from 'react';
import { Download, downloadedShare, shortName } from '../model/hub';
import { formatBytes, formatDuration } from '../model/memory';
import { LinkedText } from './controls';
import { Translator, useServices } from './services';

export function DownloadProgress({ download }: { download: Download }): React.JSX.Element {
  const { trans } = useServices();
  const { model, state } = download;
  const share = downloadedShare(download);
  const isUnknown = share === null && state === 'running';
  const text = downloadText(download, trans);
  return (
    <div className={`pico-load pico-download-${state}`}>
      <span>
        <LinkedText text={text} />
      </span>
      <div
        className={`pico-bar${isUnknown ? ' pico-bar-unknown' : ''}`}
        role="progressbar"
        aria-label={trans.__('Download of %1', shortName(model))}
        aria-valuenow={share === null ? undefined : Math.floor(100 * share)}
        aria-valuetext={text}
      >
        {(share !== null || isUnknown) && <i style={isUnknown ? undefined : { width: `${100 * (share ?? 0)}%` }} />}
      </div>
    </div>
  );
}

/** For example "34 of 270 MB · 3.1 MB/s · 48 s left". */
export function downloadText(download: Download, trans: Translator): string {
  const { completed, error, rate, secondsLeft, state, total } = download;
  const amount = total === null ? formatBytes(completed) : trans.__('%1 of %2', formatBytes(completed), formatBytes(total));
  switch (state) {
    case 'queued':
      return trans.__('Waiting for other downloads · %1', amount);
    case 'paused':
      return trans.__('Paused · %1', amount);
    case 'failed':
      return trans.__('Failed at %1: %2', amount, error);
    case 'complete':
      return trans.__('Complete · %1', formatBytes(completed));
    case 'running': {
      if (total === null) {
        return trans.__('Starting…');
      }
      const speed = rate === null ? '' : trans.__('%1/s', formatBytes(Math.round(rate)));
      const left = secondsLeft === null ? '' : trans.__('%1 left', formatDuration(secondsLeft));
      return [amount, speed, left].filter(Boolean).join(' · ');
    }
  }
}

/** For example "34 %". */
export function downloadFigure(download: Download, trans: Translator): string {
  const share = downloadedShare(download);
  return share === null ? '…' : trans.__('%1 %', Math.floor(100 * share));
}
