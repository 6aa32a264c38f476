/** Code with its language, and what can be done with it. */

import * as React from 'react';
import { CopyButton, IconButton } from './parts';
import { useObservable, useServices } from './services';

/** While code of this many characters or more is written, it is not coloured again at every update. */
const LONG = 4000;

interface CodeCardProps {
  readonly source: string;
  readonly language: string;
  readonly isLive: boolean;
}

export const CodeCard = React.memo(function CodeCard({ source, language, isLive }: CodeCardProps) {
  const { host, trans, renderer: observable } = useServices();
  const renderer = useObservable(observable);
  const isPlain = !renderer || (isLive && source.length >= LONG);
  const html = React.useMemo(
    () => (isPlain || !renderer ? '' : renderer.code(source, language)),
    [isPlain, language, renderer, source]
  );
  const insert = host.insertCode;
  return (
    <figure className="pico-code" aria-label={trans.__('Code: %1', language || trans.__('text'))}>
      <figcaption className="pico-code-bar">
        <span>{language || trans.__('text')}</span>
        <CopyButton label={trans.__('Copy code')} text={source} size={14} />
        {insert && (
          <>
            <IconButton icon="cursor" size={14} label={trans.__('Insert into the active cell')} onClick={() => insert(source, 'cursor')} />
            <IconButton icon="below" size={14} label={trans.__('Insert in a new cell below')} onClick={() => insert(source, 'below')} />
            <IconButton icon="swap" size={14} label={trans.__('Replace the active cell')} onClick={() => insert(source, 'replace')} />
          </>
        )}
      </figcaption>
      <pre tabIndex={0}>
        {isPlain ? <code>{source}</code> : <code dangerouslySetInnerHTML={{ __html: html }} />}
      </pre>
    </figure>
  );
});
