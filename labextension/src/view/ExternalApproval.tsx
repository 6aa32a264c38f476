/** Asks the user about the call of another program, which works in the notebook over MCP. */

import * as React from 'react';
import { ExternalCalls } from '../act/externalCalls';
import { ApprovalCard } from './ApprovalCard';
import { useObservable, useServices } from './services';

export function ExternalApproval({ calls }: { calls: ExternalCalls }): React.JSX.Element | null {
  const { trans } = useServices();
  const [call] = useObservable(calls.waiting);
  if (!call) {
    return null;
  }
  return (
    <section className="pico-external" aria-label={trans.__('Request of %1', call.client)}>
      <p className="pico-muted">{trans.__('%1 asks over MCP:', call.client)}</p>
      <ApprovalCard proposal={call.proposal} notebook={call.notebook} decide={call.decide} isTurn={false} />
    </section>
  );
}
