/** Shows the progress of a load: the bytes that are loaded, or the engine's state before it reads the weights. */

import * as React from 'react';
import { formatBytes, Memory } from '../model/memory';
import { Translator, useObservable, useServices } from './services';

export function LoadProgress({ model }: { model: string }): React.JSX.Element {
  const { chat, trans } = useServices();
  const { memory } = useObservable(chat.models.state);
  const share = loadShare(model, memory);
  const isKnown = share !== null;
  return (
    <div className="pico-load">
      <span>{loadText(model, memory, trans)}</span>
      <div
        className={`pico-bar${isKnown ? '' : ' pico-bar-unknown'}`}
        role="progressbar"
        aria-label={trans.__('Loading %1', model)}
        aria-valuenow={isKnown ? Math.floor(100 * share) : undefined}
      >
        <i style={isKnown ? { width: `${100 * share}%` } : undefined} />
      </div>
    </div>
  );
}

/** The loaded share of the weights, from 0 to 1. Null before the engine reads the weights of this model. */
export function loadShare(model: string, memory: Memory | null): number | null {
  const loading = memory?.loading;
  return loading?.model === model && loading.total ? loading.done / loading.total : null;
}

function loadText(model: string, memory: Memory | null, trans: Translator): string {
  const loading = memory?.loading;
  if (loading?.model === model) {
    return trans.__('Loading %1: %2 of %3', model, formatBytes(loading.done), formatBytes(loading.total));
  }
  if (loading) {
    return trans.__('Loading %1 first', loading.model);
  }
  return memory?.isStarting ? trans.__('Starting the engine…') : trans.__('Loading %1…', model);
}
