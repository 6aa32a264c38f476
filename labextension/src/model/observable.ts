/** A value with change listeners. `subscribe` and `get` fit React's useSyncExternalStore. */

export class Observable<T> {
  constructor(private _value: T) {}

  readonly get = (): T => this._value;

  readonly subscribe = (listener: () => void): (() => void) => {
    this._listeners.add(listener);
    return () => void this._listeners.delete(listener);
  };

  set(value: T): void {
    if (!Object.is(value, this._value)) {
      this._value = value;
      for (const listener of [...this._listeners]) {
        listener();
      }
    }
  }

  patch(changes: Partial<T>): void {
    this.set({ ...this._value, ...changes });
  }

  private readonly _listeners = new Set<() => void>();
}
