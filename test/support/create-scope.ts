/** What helpers need of a test: a script that runs them without one makes its own. Every `ExecutionContext` is one. */
export interface Scope {
  /** Has `run` called at the end: what was registered last goes first. */
  teardown(run: () => void | Promise<void>): void;
  log(...values: readonly unknown[]): void;
}

/** Makes a scope outside of a test. `close` tears down. */
export function createScope(log: (text: string) => void): Scope & { close(): Promise<void> } {
  const teardowns: (() => void | Promise<void>)[] = [];
  return {
    teardown: (run) => void teardowns.push(run),
    log: (...values) => log(values.map(String).join(" ")),
    async close() {
      for (let run = teardowns.pop(); run !== undefined; run = teardowns.pop()) await run();
    },
  };
}
