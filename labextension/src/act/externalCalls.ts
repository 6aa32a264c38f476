/** The calls of other programs that wait for the user's approval. The programs reach the page over MCP. */

import { Observable } from '../model/observable';
import { untilAborted } from '../model/untilAborted';
import { Approval } from './approvals';
import { Proposal } from './toolbox';

export interface ExternalCall {
  /** The name of the program, as it calls itself. */
  readonly client: string;
  readonly notebook: string;
  readonly proposal: Proposal;
  readonly decide: (approval: Approval) => void;
}

export class ExternalCalls {
  /** The oldest first. */
  readonly waiting = new Observable<readonly ExternalCall[]>([]);

  /** Wait for the user's decision. Rejects when `signal` aborts. */
  async ask(client: string, notebook: string, proposal: Proposal, signal: AbortSignal): Promise<Approval> {
    let call: ExternalCall | undefined;
    const decided = new Promise<Approval>(decide => {
      call = { client, notebook, proposal, decide };
      this.waiting.set([...this.waiting.get(), call]);
    });
    return untilAborted(decided, signal).finally(() => this.waiting.set(this.waiting.get().filter(other => other !== call)));
  }
}
