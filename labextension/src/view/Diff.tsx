/** Shows the difference of two versions of a text. */

import * as React from 'react';
import { countChanges, DiffLine, diffLines } from '../model/lineDiff';
import { Translator } from './services';

const SIGNS: Readonly<Record<DiffLine['kind'], string>> = { same: ' ', added: '+', removed: '−' };
/** Unchanged lines that are shown before and after a change. */
const NEAR = 3;

interface DiffProps {
  readonly before: string;
  readonly after: string;
  readonly trans: Translator;
}

export function Diff({ before, after, trans }: DiffProps): React.JSX.Element {
  const diff = React.useMemo(() => diffLines(before, after), [before, after]);
  const { added, removed } = countChanges(diff);
  return (
    <div className="pico-diff" role="group" tabIndex={0} dir="ltr" aria-label={trans.__('Changes: %1 lines added, %2 removed', added, removed)}>
      {withoutDistant(diff).map((line, index) =>
        line === null ? (
          <div key={index} className="pico-diff-gap" aria-hidden="true">
            ⋯
          </div>
        ) : (
          <div key={index} className={`pico-diff-line pico-diff-${line.kind}`}>
            <span className="pico-diff-sign">{SIGNS[line.kind]}</span>
            <code>{line.text}</code>
          </div>
        )
      )}
    </div>
  );
}

/** The lines near changes. null stands for lines that are left out. */
function withoutDistant(diff: readonly DiffLine[]): readonly (DiffLine | null)[] {
  const isNear = diff.map((_, index) => diff.slice(Math.max(0, index - NEAR), index + NEAR + 1).some(({ kind }) => kind !== 'same'));
  return diff.flatMap((line, index) => (isNear[index] ? [line] : index === 0 || isNear[index - 1] ? [null] : []));
}
