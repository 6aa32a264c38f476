/** Shows code with its language and its actions. */

import * as React from 'react';
import { CopyButton, IconButton } from './controls';
import { useObservable, useServices } from './services';

/** Growing code of this many characters is not highlighted until it is complete. */
const MAX_LIVE_LENGTH = 4000;
const ICONS = { cursor: 'cursor', below: 'below', replace: 'swap' } as const;

interface CodeCardProps {
  readonly source: string;
  readonly language: string;
  readonly isLive: boolean;
}

export const CodeCard = React.memo(function CodeCard({ source, language, isLive }: CodeCardProps) {
  const { actions, trans, renderer: observable } = useServices();
  const renderer = useObservable(observable);
  const isHighlighted = renderer !== null && (!isLive || source.length < MAX_LIVE_LENGTH);
  const html = React.useMemo(
    () => (isHighlighted ? renderer.code(source, language) : ''),
    [isHighlighted, language, renderer, source]
  );
  const labels = {
    cursor: trans.__('Insert into the active cell'),
    below: trans.__('Insert in a new cell below'),
    replace: trans.__('Replace the active cell')
  };
  return (
    <figure className="pico-code" dir="ltr" aria-label={trans.__('Code: %1', language || trans.__('text'))}>
      <figcaption className="pico-code-bar">
        <span>{language || trans.__('text')}</span>
        <CopyButton label={trans.__('Copy code')} text={source} size={14} />
        {actions.insertions?.map(where => (
          <IconButton key={where} icon={ICONS[where]} size={14} label={labels[where]} onClick={() => actions.insertCode?.(source, where)} />
        ))}
      </figcaption>
      <pre tabIndex={0} dir="ltr">
        {isHighlighted ? <code dangerouslySetInnerHTML={{ __html: html }} /> : <code>{source}</code>}
      </pre>
    </figure>
  );
});
