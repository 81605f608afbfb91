/** What comes in order and is taken in order: ends with an end or an error, behind all that came before. */
export interface Mailbox<T> {
  push(value: T): void;
  /** No more comes. With an error, taking what is behind the last value throws it. */
  end(error?: unknown): void;
  /** The values until the end; `taken` is called with each that is taken. */
  values(taken?: () => void): AsyncGenerator<T>;
}

/** Makes an empty mailbox. */
export function createMailbox<T>(): Mailbox<T> {
  const values: T[] = [];
  let ended: { readonly error: unknown } | undefined;
  let wake: (() => void) | undefined;
  return {
    push(value) {
      values.push(value);
      wake?.();
    },
    end(error) {
      ended ??= { error };
      wake?.();
    },
    async *values(taken) {
      for (;;) {
        if (values.length > 0) {
          const value = values.shift()!;
          taken?.();
          yield value;
        } else if (ended !== undefined) {
          if (ended.error !== undefined) throw ended.error as Error;
          return;
        } else {
          await new Promise<void>((resolve) => (wake = resolve));
        }
      }
    },
  };
}
