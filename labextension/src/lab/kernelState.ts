/** Says whether a notebook's kernel can run a cell, and waits for a run. */

import { ISessionContext } from '@jupyterlab/apputils';
import { ToolError } from '../act/toolbox';

/** Why no cell can run; '' if one can. */
export function kernelProblem(session: ISessionContext): string {
  const kernel = session.session?.kernel;
  if (session.isTerminating || kernel?.status === 'dead') {
    return DEAD;
  }
  if (!kernel) {
    return 'The notebook has no kernel. Ask the user to choose one.';
  }
  return session.pendingInput ? 'Another cell waits for input of the user. Ask the user to answer it.' : '';
}

/** Why a run will wait; '' if it starts at once. */
export function kernelWait(session: ISessionContext): string {
  const status = session.kernelDisplayStatus;
  if (status === 'busy') {
    return 'The kernel is busy. The cell runs when it is free.';
  }
  return status === 'starting' || status === 'initializing' ? 'The kernel is starting.' : '';
}

const DEAD = 'The kernel is dead. Ask the user to restart it.';

/** Resolves with the run, or rejects when the kernel dies, after which no reply comes. */
export function untilKernelEnds<T>(run: Promise<T>, session: ISessionContext): Promise<T> {
  return new Promise((resolve, reject) => {
    const onStatus = (): void => {
      if (session.session?.kernel?.status === 'dead') {
        reject(new ToolError(DEAD));
      }
    };
    session.statusChanged.connect(onStatus);
    void run.then(resolve, reject).finally(() => session.statusChanged.disconnect(onStatus));
  });
}
