/** A value that changes, and that others can follow. */
export interface Observed<T> {
  /** The value as it is now. */
  readonly value: T;
  /**
   * The value as it is now and then each newer one, until `signal` is aborted or the value is closed. Who is slow
   * misses what lay between, but never the newest.
   */
  changes(signal: AbortSignal): AsyncIterable<T>;
}

/** The side of an observed value that changes it. */
export interface Observable<T> extends Observed<T> {
  /** Changes the value and wakes all who follow it. */
  set(value: T): void;
  /** Ends all who follow the value, after they have had the newest. */
  close(): void;
}

/** Makes an observed value. */
export function createObservable<T>(initial: T): Observable<T> {
  let value = initial;
  let version = 0;
  let closed = false;
  const waiters = new Set<() => void>();

  const wake = () => {
    for (const resolve of waiters) resolve();
    waiters.clear();
  };

  const next = (signal: AbortSignal) =>
    new Promise<void>((resolve) => {
      const done = () => {
        signal.removeEventListener("abort", done);
        waiters.delete(done);
        resolve();
      };
      waiters.add(done);
      signal.addEventListener("abort", done, { once: true });
    });

  return {
    get value() {
      return value;
    },
    set(changed) {
      value = changed;
      version++;
      wake();
    },
    close() {
      closed = true;
      wake();
    },
    async *changes(signal) {
      let seen = -1;
      while (!signal.aborted) {
        if (seen !== version) {
          seen = version;
          yield value;
        } else if (closed) {
          return;
        } else {
          await next(signal);
        }
      }
    },
  };
}
