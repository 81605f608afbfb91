import { randomBytes } from "node:crypto";

/** A timer that is under way. */
export interface Timer {
  /** Ends the timer; harmless when it has fired. */
  cancel(): void;
}

/**
 * Time and randomness. Everything takes them from here, so that a simulation can supply its own; nothing else in `src/`
 * touches the system's clock, timers or random numbers (a test keeps that).
 */
export interface Clock {
  /** The wall clock, in whole milliseconds since 1970-01-01 UTC. It may jump. */
  now(): number;
  /** A clock that never goes back, in milliseconds from an arbitrary start. */
  monotonic(): number;
  /** Calls `run` once after `delayMs` milliseconds. A timer alone does not keep the process alive. */
  timer(delayMs: number, run: () => void): Timer;
  /** Lets other work go first: resolves when what is ready to run has had its turn. For long loops. */
  turn(): Promise<void>;
  /** A number from 0 (inclusive) to 1 (exclusive). */
  random(): number;
  /** A new unique id: 32 hexadecimal digits. */
  id(): string;
}

/** The system's time and randomness. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  timer(delayMs, run) {
    const timeout = setTimeout(run, Math.max(0, delayMs));
    timeout.unref();
    return { cancel: () => clearTimeout(timeout) };
  },
  turn: () => new Promise((resolve) => setImmediate(resolve)),
  random: () => Math.random(),
  id: () => randomBytes(16).toString("hex"),
};

/** Resolves after `delayMs` milliseconds, or as soon as `signal` is aborted, whichever is first. */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) {
      resolve();
      return;
    }
    const done = () => {
      timer.cancel();
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = clock.timer(delayMs, done);
    signal?.addEventListener("abort", done, { once: true });
  });
}
