/**
 * A machine of the simulation with one process: it can crash, freeze and thaw, and its clock is its own. Whatever comes
 * to it, timers and messages alike, comes through `deliver`.
 */
import type { Clock, Timer } from "../../src/clock.ts";
import type { Alarm, Scheduler } from "./scheduler.ts";

/** How a machine's clock goes. */
export interface ClockFault {
  /** How fast it runs: 1 is right. */
  readonly rate: number;
  /** How far its wall time is ahead at the beginning, in milliseconds. */
  readonly aheadMs: number;
}

/** A process. It lives once: a restart makes another. */
export interface Host {
  readonly name: string;
  readonly clock: Clock;
  readonly alive: boolean;
  readonly frozen: boolean;
  /** How many timers are under way. */
  readonly timers: number;
  /** Lets something happen in the process: now, when it thaws, or never if it is gone. */
  deliver(run: () => void): void;
  /** Ends the process between two instructions. */
  crash(): void;
  freeze(): void;
  thaw(): void;
  /** Sets the wall clock ahead by so much, or back. */
  jump(ms: number): void;
  /** Calls `run` when the process crashes, or at once if it has. Returns a function that takes that back. */
  onCrash(run: () => void): () => void;
}

/** When the simulated world begins: milliseconds since 1970. */
export const worldStart = Date.UTC(2026, 0, 1);

/** Starts a process. `random` is its own source of randomness. */
export function createHost(name: string, scheduler: Scheduler, random: () => number, fault: ClockFault): Host {
  const startedAt = scheduler.now;
  const crashed = new Set<() => void>();
  let held: (() => void)[] = [];
  let alive = true;
  let frozen = false;
  let aheadMs = fault.aheadMs;
  let timers = 0;

  const deliver = (run: () => void) => {
    if (!alive) return;
    if (frozen) held.push(run);
    else run();
  };

  // Each process has a monotonic clock from another start, as each machine has.
  const origin = Math.floor(random() * 1e9);
  const monotonic = () => origin + (scheduler.now - startedAt) * fault.rate;

  const timer = (delayMs: number, run: () => void): Timer => {
    let alarm: Alarm | undefined;
    let waiting = true;
    const end = () => {
      if (!waiting) return false;
      waiting = false;
      timers--;
      return true;
    };
    timers++;
    // A timer goes off on whole milliseconds, as the system's do.
    const delay = Math.max(1, Math.ceil(delayMs)) / fault.rate;
    if (delay < Number.MAX_SAFE_INTEGER) {
      alarm = scheduler.after(delay, () => {
        deliver(() => {
          if (end()) run();
        });
      });
    }
    return {
      cancel() {
        alarm?.cancel();
        end();
      },
    };
  };

  const clock: Clock = {
    now: () => Math.floor(worldStart + scheduler.now * fault.rate + aheadMs),
    monotonic,
    timer,
    turn: () => new Promise((resolve) => void scheduler.after(0, () => deliver(resolve))),
    random,
    id: () => Array.from({ length: 32 }, () => Math.floor(random() * 16).toString(16)).join(""),
  };

  return {
    name,
    clock,
    get alive() {
      return alive;
    },
    get frozen() {
      return frozen;
    },
    get timers() {
      return timers;
    },
    deliver,
    crash() {
      if (!alive) return;
      alive = false;
      held = [];
      for (const run of crashed) run();
      crashed.clear();
    },
    freeze() {
      frozen = true;
    },
    thaw() {
      if (!frozen) return;
      frozen = false;
      const waiting = held;
      held = [];
      // What came meanwhile is there at once, in its order, before anything that comes from now on.
      for (const run of waiting) scheduler.after(0, () => deliver(run));
    },
    jump(ms) {
      aheadMs += ms;
    },
    onCrash(run) {
      if (alive) crashed.add(run);
      else run();
      return () => void crashed.delete(run);
    },
  };
}
