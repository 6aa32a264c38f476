/** The work of a model on one cell: it writes a new source, which the user accepts or rejects. */

import { codeOf } from './fences';
import { Observable } from './observable';
import { Backend, ChatRequest, Environment } from './types';
import { reasonOf } from './wire';

export interface ProposalState {
  readonly status: 'writing' | 'ready' | 'failed' | 'closed';
  /** The proposed source. It grows while the model writes. */
  readonly after: string;
  /** The reasoning, while the model thinks. */
  readonly reasoning: string;
  /** Why there is no proposal. */
  readonly problem: string;
}

export interface ProposalOptions {
  readonly backend: Pick<Backend, 'chat'>;
  readonly environment: Environment;
  readonly request: () => Promise<Omit<ChatRequest, 'messages' | 'continues'>>;
  readonly question: string;
  readonly before: string;
  /** Says that the answer contains no code, or no change. */
  readonly words: { readonly noCode: string; readonly noChange: string };
}

export class CellProposal {
  constructor(private readonly _options: ProposalOptions) {
    this.finished = this._write();
  }

  readonly state = new Observable<ProposalState>({ status: 'writing', after: '', reasoning: '', problem: '' });
  /** Resolves when the model has finished, was stopped, or failed. */
  readonly finished: Promise<void>;

  get before(): string {
    return this._options.before;
  }

  /** Stop the model, and close the proposal. */
  close(): void {
    this._abort.abort();
    this.state.patch({ status: 'closed' });
  }

  private async _write(): Promise<void> {
    const { environment, backend, question, words } = this._options;
    const now = environment.now();
    const asked = { id: environment.newId(), role: 'user', content: question, status: 'done', created: now, changed: now } as const;
    let answer = '';
    try {
      const request = { ...(await this._options.request()), messages: [asked], continues: false };
      for await (const delta of backend.chat(request, this._abort.signal)) {
        if (delta.kind === 'text') {
          answer += delta.text;
          this.state.patch({ after: codeOf(answer) });
        } else if (delta.kind === 'reasoning') {
          this.state.patch({ reasoning: this.state.get().reasoning + delta.text });
        }
      }
      const after = codeOf(answer);
      const problem = after === '' ? words.noCode : after === this.before.trimEnd() ? words.noChange : '';
      this._end(problem ? { status: 'failed', problem, after: '' } : { status: 'ready', after });
    } catch (error) {
      this._end({ status: 'failed', problem: reasonOf(error), after: '' });
    }
  }

  private _end(changes: Partial<ProposalState>): void {
    if (this.state.get().status !== 'closed') {
      this.state.patch(changes);
    }
  }

  private readonly _abort = new AbortController();
}
