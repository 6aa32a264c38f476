/** Shows below a cell what a model proposes for it. */

import * as React from 'react';
import { CellProposal } from '../model/cellProposal';
import { Models } from '../model/models';
import { useFocus } from './controls';
import { Diff } from './Diff';
import { Icon } from './icons';
import { Translator, useObservable } from './services';

interface CellProposalCardProps {
  readonly proposal: CellProposal;
  readonly models: Models;
  readonly trans: Translator;
  /** What the model does, for example "Fix cell 3". */
  readonly title: string;
  /** Applies the proposal. Returns why it cannot be applied, or ''. */
  readonly onAccept: () => string;
  readonly onClose: () => void;
}

export function CellProposalCard({ proposal, models, trans, title, onAccept, onClose }: CellProposalCardProps): React.JSX.Element {
  const { status, after, reasoning, problem } = useObservable(proposal.state);
  const { chosenName } = useObservable(models.state);
  const [conflict, setConflict] = React.useState('');
  const onKeyDown = (event: React.KeyboardEvent): void => {
    if (event.key === 'Escape') {
      event.preventDefault();
      event.stopPropagation();
      onClose();
    }
  };
  const shown = conflict || problem;
  const progress = reasoning && !after ? trans.__('%1 is thinking…', chosenName) : trans.__('%1 is writing…', chosenName);
  return (
    <section className="pico-chat pico-proposal" aria-label={title} data-lm-suppress-shortcuts="true" onKeyDown={onKeyDown}>
      <header className="pico-proposal-head">
        <strong>{title}</strong>
        <span className="pico-muted" role="status">
          {status === 'writing' ? progress : status === 'ready' ? trans.__('Nothing is changed yet.') : ''}
        </span>
      </header>
      {shown && (
        <p className="pico-error" role="alert">
          <Icon name="alert" size={14} /> {shown}
        </p>
      )}
      {after && <Diff before={proposal.before} after={after} trans={trans} />}
      <div className="pico-edit-buttons">
        {status === 'ready' ? (
          <>
            <button type="button" className="pico-button" onClick={onClose}>
              {trans.__('Reject')}
            </button>
            {!conflict && <FocusedButton isPrimary label={trans.__('Accept')} onClick={() => setConflict(onAccept())} />}
          </>
        ) : (
          <FocusedButton key={status} label={status === 'writing' ? trans.__('Stop') : trans.__('Close')} onClick={onClose} />
        )}
      </div>
    </section>
  );
}

/** A button that has the focus when it appears. */
function FocusedButton({ label, onClick, isPrimary }: { label: string; onClick: () => void; isPrimary?: boolean }): React.JSX.Element {
  const button = useFocus<HTMLButtonElement>();
  return (
    <button ref={button} type="button" className={`pico-button${isPrimary ? ' pico-primary' : ''}`} onClick={onClick}>
      {label}
    </button>
  );
}
