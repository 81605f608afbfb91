import type { Clock } from "../clock.ts";

/** How long to wait after the next failure. */
export interface Backoff {
  /** Counts a failure and says how long to wait, in milliseconds: longer each time, jittered. */
  next(): number;
  /** Begins anew: the last attempt did not fail. */
  reset(): void;
}

/** Waits that begin at `firstMs` and double up to `maxMs`. */
export function createBackoff(clock: Clock, firstMs: number, maxMs: number): Backoff {
  let delayMs = firstMs;
  return {
    next() {
      const waitMs = jitter(clock, delayMs);
      delayMs = Math.min(maxMs, delayMs * 2);
      return waitMs;
    },
    reset() {
      delayMs = firstMs;
    },
  };
}

/** From half of `delayMs` to the whole, so that nodes that failed together do not try again together. */
export function jitter(clock: Clock, delayMs: number): number {
  return delayMs * (0.5 + 0.5 * clock.random());
}
