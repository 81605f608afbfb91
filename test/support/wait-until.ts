import { systemClock, sleep } from "../../src/clock.ts";

/** Resolves as soon as `condition` holds, which is looked at every few milliseconds. Throws after `limitMs`. */
export async function waitUntil(condition: () => boolean, what: string, limitMs = 10_000): Promise<void> {
  const end = systemClock.monotonic() + limitMs;
  // A timer of the clock alone would not keep the process alive.
  const keepAlive = setInterval(() => {}, 1000);
  try {
    while (!condition()) {
      if (systemClock.monotonic() > end) throw new Error(`after ${limitMs} ms still not: ${what}`);
      await sleep(systemClock, 5);
    }
  } finally {
    clearInterval(keepAlive);
  }
}

// Looks in a row, 5 ms apart, at which something must be the same to count as standing still.
const stillLooks = 30;

/** Resolves to the value of `look` once it is `min` or more and does not change any more. */
export async function waitUntilStill(look: () => number, min: number, what: string): Promise<number> {
  let last = -1;
  let same = 0;
  const isStill = () => {
    const value = look();
    same = value === last && value >= min ? same + 1 : 0;
    last = value;
    return same >= stillLooks;
  };
  await waitUntil(isStill, `${what} stands still`);
  return last;
}
