/** Asks the user before tools change or run something. */

import { Json } from '../model/json';
import { failure, isResult, Proposal, Toolbox, ToolResult } from './toolbox';

/** `accept-turn`: accept this call and all later ones of the turn. */
export type Approval = 'accept' | 'reject' | 'accept-turn';

/** When the user is asked: before each change and run, or only before runs and deletions, or never. */
export type Policy = 'always' | 'run-and-delete' | 'never';

export const POLICIES: readonly Policy[] = ['always', 'run-and-delete', 'never'];

export type Ask = (proposal: Proposal, signal: AbortSignal) => Promise<Approval>;

export const REJECTED = 'The user rejected this.';
const CHANGED = 'The cell changed while the user was asked. Read it again.';

/** A toolbox that asks before it calls. `policy` is read before each call. Create one for each turn. */
export function withApprovals(toolbox: Toolbox, policy: () => Policy, ask: Ask): Toolbox {
  let acceptsAll = false;
  return {
    tools: () => toolbox.tools(),
    propose: (name, args) => toolbox.propose(name, args),
    call: async (name: string, args: Json, signal, note): Promise<ToolResult> => {
      const proposal = await toolbox.propose(name, args);
      if (isResult(proposal)) {
        return proposal;
      }
      if (proposal && !(acceptsAll && proposal.kind !== 'other') && needsApproval(proposal, policy())) {
        const approval = await ask(proposal, signal);
        signal.throwIfAborted();
        if (approval === 'reject') {
          return failure(REJECTED);
        }
        const now = await toolbox.propose(name, args);
        if (JSON.stringify(now) !== JSON.stringify(proposal)) {
          return isResult(now) ? now : failure(CHANGED);
        }
        acceptsAll ||= approval === 'accept-turn';
      }
      return toolbox.call(name, args, signal, note);
    }
  };
}

/** The policy is about the notebook. Tools of MCP servers need approval under every policy. */
function needsApproval({ kind }: Proposal, policy: Policy): boolean {
  switch (kind) {
    case 'other':
      return true;
    case 'run':
    case 'delete':
      return policy !== 'never';
    default:
      return policy === 'always';
  }
}
