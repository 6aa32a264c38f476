/** The assistant of one panel: runs turns in Act mode on the host's notebook, and holds what waits for the user's approval. */

import { Models, supportsImages } from '../model/models';
import { Observable } from '../model/observable';
import { Act } from '../model/types';
import { untilAborted } from '../model/untilAborted';
import { Approval, Policy, withApprovals } from './approvals';
import { runLoop } from './loop';
import { Proposal, Toolbox } from './toolbox';

/** The notebook that a turn works on. */
export interface OpenNotebook {
  readonly name: string;
  readonly toolbox: Toolbox;
  policy(): Policy;
}

export interface HostState {
  /** The name of the notebook that the next turn works on; '' without one. */
  readonly notebook: string;
  readonly policy: Policy;
  /** The number of answers with tool calls after which a turn ends. */
  readonly maxSteps: number;
  /** Whether Python code may start a turn. */
  readonly allowsCode: boolean;
}

/** The application with the notebooks, such as JupyterLab. */
export interface NotebookHost {
  readonly state: Observable<HostState>;
  /** null if no notebook is open. */
  open(): OpenNotebook | null;
  /** `never` is for the notebook of the state. The other policies become the user's setting. */
  setPolicy(policy: Policy): void;
}

/** A running turn. */
export interface RunningTurn {
  /** The id of its conversation. */
  readonly conversation: string;
  readonly notebook: string;
  /** Why a tool waits; '' if it does not. */
  readonly note: string;
  /** What waits for approval; null if nothing does. */
  readonly request: { readonly proposal: Proposal; readonly decide: (approval: Approval) => void } | null;
}

export class Assistant {
  constructor(
    private readonly _models: Models,
    host: NotebookHost | null = null
  ) {
    this.host = new Observable(host);
  }

  /** null if the page has no notebooks. */
  readonly host: Observable<NotebookHost | null>;

  readonly turns = new Observable<readonly RunningTurn[]>([]);

  readonly act: Act = async turn => {
    const notebook = this.host.get()?.open();
    if (!notebook) {
      throw new Error('No notebook is open.');
    }
    const { conversation, signal } = turn;
    const change = (changes: Partial<RunningTurn>): void => this._change(conversation, changes);
    const ask = (proposal: Proposal): Promise<Approval> => {
      const decided = new Promise<Approval>(resolve => change({ request: { proposal, decide: resolve } }));
      return untilAborted(decided, signal).finally(() => change({ request: null }));
    };
    this.turns.set([...this.turns.get(), { conversation, notebook: notebook.name, note: '', request: null }]);
    try {
      await untilAborted(this._models.ready(), signal);
      await runLoop(turn, {
        toolbox: withApprovals(notebook.toolbox, notebook.policy, ask),
        system: systemMessage(notebook.name),
        maxSteps: this.host.get()?.state.get().maxSteps ?? 1,
        resultLength: resultLength(this._models.chosen?.context ?? 0),
        acceptsImages: supportsImages(this._models.chosen),
        note: note => change({ note })
      });
    } finally {
      this.turns.set(this.turns.get().filter(other => other.conversation !== conversation));
    }
  };

  /** Runs a turn that Python code requested. */
  readonly actForCode: Act = async turn => {
    if (!this.host.get()?.state.get().allowsCode) {
      throw new Error('Python code may not use Act. The setting "Act: allow panel.act()" of Pico Chat allows it.');
    }
    await this.act(turn);
  };

  private _change(conversation: string, changes: Partial<RunningTurn>): void {
    this.turns.set(this.turns.get().map(turn => (turn.conversation === conversation ? { ...turn, ...changes } : turn)));
  }
}

export function systemMessage(notebook: string): string {
  return (
    `You are an assistant in the Jupyter notebook ${notebook}. ` +
    'Use the tools to read, change and run its cells. When you are done, say so in one sentence.'
  );
}

/** The characters of a result. Results must leave room in the context of a small model. */
function resultLength(context: number): number {
  return context ? Math.min(Math.max(context / 2, 800), 8000) : 4000;
}
