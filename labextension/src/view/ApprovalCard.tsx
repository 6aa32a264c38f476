/** Asks the user to accept or reject what a tool will do. */

import * as React from 'react';
import { Approval } from '../act/approvals';
import { Proposal } from '../act/toolbox';
import { Diff } from './Diff';
import { Translator, useServices } from './services';

interface ApprovalCardProps {
  readonly proposal: Proposal;
  readonly notebook: string;
  readonly decide: (approval: Approval) => void;
  /** Whether the call belongs to a turn, all of which the user can accept. */
  readonly isTurn?: boolean;
}

export function ApprovalCard({ proposal, notebook, decide, isTurn = true }: ApprovalCardProps): React.JSX.Element {
  const { trans } = useServices();
  const card = React.useRef<HTMLDivElement>(null);
  const title = React.useId();
  React.useEffect(() => {
    // The card itself has the focus, so that a key typed for the message accepts nothing. Another part of the page keeps it.
    const panel = card.current?.closest('.pico-chat');
    const { activeElement } = document;
    if (!activeElement || activeElement === document.body || panel?.contains(activeElement)) {
      card.current?.focus();
    }
    card.current?.scrollIntoView({ block: 'nearest' });
  }, [proposal]);
  return (
    <div ref={card} className="pico-approval" role="group" aria-labelledby={title} tabIndex={-1}>
      <div className="pico-approval-title" id={title} role="status">
        {cardTitle(proposal, notebook, trans)}
      </div>
      <Change proposal={proposal} />
      <div className="pico-approval-buttons">
        <button type="button" className="pico-button pico-primary" onClick={() => decide('accept')}>
          {trans.__('Accept')}
        </button>
        <button type="button" className="pico-button" onClick={() => decide('reject')}>
          {trans.__('Reject')}
        </button>
        {isTurn && (
          <button type="button" className="pico-button" onClick={() => decide('accept-turn')}>
            {trans.__('Accept all of this turn')}
          </button>
        )}
      </div>
    </div>
  );
}

function cardTitle(proposal: Proposal, notebook: string, trans: Translator): string {
  switch (proposal.kind) {
    case 'insert':
      return proposal.after ? trans.__('Add a cell to %1 below cell %2?', notebook, proposal.after) : trans.__('Add a cell to %1?', notebook);
    case 'edit':
      return trans.__('Change cell %1 of %2?', proposal.cell, notebook);
    case 'delete':
      return trans.__('Delete cell %1 of %2?', proposal.cell, notebook);
    case 'run':
      return trans.__('Run cell %1 of %2?', proposal.cell, notebook);
    case 'other':
      return trans.__('Use the tool %1?', proposal.tool);
  }
}

/** The lines that change, or the code that runs. */
function Change({ proposal }: { proposal: Proposal }): React.JSX.Element {
  const { trans } = useServices();
  const [before, after] = texts(proposal);
  if (before !== after) {
    return <Diff before={before} after={after} trans={trans} />;
  }
  return (
    <pre className="pico-diff pico-diff-code" tabIndex={0} dir="ltr" role="region" aria-label={trans.__('What runs')}>
      {after}
    </pre>
  );
}

/** The source before and after. Both are the same if nothing changes. */
function texts(proposal: Proposal): [string, string] {
  switch (proposal.kind) {
    case 'insert':
      return ['', proposal.source];
    case 'edit':
      return [proposal.before, proposal.after];
    case 'delete':
      return [proposal.before, ''];
    default:
      return [proposal.source, proposal.source];
  }
}
