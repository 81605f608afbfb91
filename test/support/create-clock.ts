import type { Clock, Timer } from "../../src/clock.ts";

/** A clock whose time stands still until a test moves it. The same seed gives the same random numbers and ids. */
export interface ManualClock extends Clock {
  /** Moves time on by `ms`: fires the timers that fall due, in order, and lets the promises behind each settle. */
  advance(ms: number): Promise<void>;
  /**
   * Moves time on from timer to timer until `condition` holds; resolves to the milliseconds that went by. Throws when
   * it does not hold after `limitMs`, or no timer is left that could make it hold.
   */
  advanceUntil(condition: () => boolean, limitMs: number): Promise<number>;
  /** Lets the promises that are due settle, without moving time. */
  settle(): Promise<void>;
  /** The same clock with another wall time: `now()` is `ms` ahead. */
  ahead(ms: number): Clock;
  /** How many timers are under way. */
  readonly timers: number;
}

interface Alarm {
  readonly at: number;
  readonly number: number;
  readonly run: () => void;
}

/** Makes a manual clock. `startAt` is its wall time, in milliseconds since 1970. */
export function createClock({ seed = 1, startAt = Date.UTC(2026, 0, 1) } = {}): ManualClock {
  const alarms = new Set<Alarm>();
  const random = createRandom(seed);
  let elapsed = 0;
  let count = 0;

  const next = () => {
    let first: Alarm | undefined;
    for (const alarm of alarms) {
      if (!first || alarm.at < first.at || (alarm.at === first.at && alarm.number < first.number)) first = alarm;
    }
    return first;
  };

  const fire = (alarm: Alarm) => {
    alarms.delete(alarm);
    elapsed = Math.max(elapsed, alarm.at);
    alarm.run();
    return settle();
  };

  const timer = (delayMs: number, run: () => void): Timer => {
    const alarm = { at: elapsed + Math.max(0, delayMs), number: count++, run };
    alarms.add(alarm);
    return { cancel: () => void alarms.delete(alarm) };
  };

  const clock: ManualClock = {
    now: () => startAt + Math.floor(elapsed),
    monotonic: () => elapsed,
    timer,
    turn: () => new Promise((resolve) => void setImmediate(resolve)),
    random,
    id: () => Array.from({ length: 32 }, () => Math.floor(random() * 16).toString(16)).join(""),
    async advance(ms) {
      const until = elapsed + ms;
      await settle();
      for (let alarm = next(); alarm !== undefined && alarm.at <= until; alarm = next()) await fire(alarm);
      elapsed = until;
      await settle();
    },
    async advanceUntil(condition, limitMs) {
      const from = elapsed;
      await settle();
      while (!condition()) {
        const alarm = next();
        if (alarm === undefined) throw new Error(`no timer is left after ${elapsed - from} ms`);
        if (alarm.at > from + limitMs) throw new Error(`the condition does not hold after ${limitMs} ms`);
        await fire(alarm);
      }
      return elapsed - from;
    },
    settle,
    ahead: (ms) => ({ ...clock, now: () => clock.now() + ms }),
    get timers() {
      return alarms.size;
    },
  };
  return clock;
}

// All promises that are due settle before the next turn of the event loop; the second turn is for what came by I/O.
async function settle(): Promise<void> {
  for (let turn = 0; turn < 2; turn++) await new Promise((resolve) => void setImmediate(resolve));
}

/** Numbers from 0 (inclusive) to 1 (exclusive), the same for the same seed (mulberry32). */
export function createRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
