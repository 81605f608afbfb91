import { createHash } from "node:crypto";
import type { Scheduler } from "./scheduler.ts";

/** Everything that happens in a run, in order: the same seed must give the same trace. */
export interface Trace {
  /** Notes that something happened to `who`. */
  note(who: string, what: string): void;
  /** The newest lines, the oldest first: all of them where the trace was told to keep them. */
  readonly lines: readonly string[];
  /** How many lines there were. */
  readonly count: number;
  /** A digest of all lines so far: 32 hexadecimal digits. */
  digest(): string;
}

/** Makes a trace that keeps about `keptMax` lines. */
export function createTrace(scheduler: Scheduler, keptMax: number): Trace {
  const hash = createHash("sha256");
  let lines: string[] = [];
  let waiting = "";
  let count = 0;
  return {
    note(who, what) {
      const line = `${scheduler.now.toFixed(3)} ${who} ${what}\n`;
      count++;
      waiting += line;
      if (waiting.length > 65_536) {
        hash.update(waiting);
        waiting = "";
      }
      if (keptMax === 0) return;
      lines.push(line);
      if (lines.length > 2 * keptMax) lines = lines.slice(-keptMax);
    },
    get lines() {
      return lines;
    },
    get count() {
      return count;
    },
    digest() {
      hash.update(waiting);
      waiting = "";
      return hash.copy().digest("hex").slice(0, 32);
    },
  };
}
