/** Resolves with `work`, or rejects when the signal aborts first. */
export function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason as Error);
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) {
      onAbort();
    }
    void work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
