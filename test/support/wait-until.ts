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
