import type { CliIo } from "./io.ts";

/** Tells on standard error how far a command is: one line that is rewritten on a terminal, a line now and then elsewhere. */
export interface Progress {
  /** Shows what `describe` says, where it is time to. */
  update(describe: () => string): void;
  /** Takes the line away, so that something else can be written. */
  clear(): void;
}

const terminalProgressMs = 200;
const plainProgressMs = 10_000;
const clearLine = "\r\x1b[K";

/** Begins to tell. `silent`: nothing is shown, for where standard error has another use. */
export function createProgress(io: CliIo, silent = false): Progress {
  const rewrite = io.stderr.isTTY === true;
  const everyMs = rewrite ? terminalProgressMs : plainProgressMs;
  let shownAt = io.clock.monotonic();
  let shown = false;
  return {
    update(describe) {
      if (silent || io.clock.monotonic() - shownAt < everyMs) return;
      shownAt = io.clock.monotonic();
      shown = rewrite;
      io.stderr.write(rewrite ? `${clearLine}${describe()}` : `${describe()}, so far\n`);
    },
    clear() {
      if (shown) io.stderr.write(clearLine);
      shown = false;
    },
  };
}
