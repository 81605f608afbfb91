import type { Clock } from "../clock.ts";
import { sleep } from "../clock.ts";
import { isKind } from "../errors.ts";

const firstDelayMs = 50;
const delayMsMax = 2000;

/**
 * How long to wait before attempt number `attempt` (1 is the first repetition): doubles from 50 ms to 2 s, the upper half
 * of it random, so that clients that failed together do not come back together.
 */
export function backoffMs(clock: Clock, attempt: number): number {
  const ceilingMs = Math.min(delayMsMax, firstDelayMs * 2 ** Math.min(attempt - 1, 16));
  return ceilingMs * (0.5 + clock.random() / 2);
}

/** Waits like `sleep`, but keeps the process alive meanwhile: a timer of the clock alone does not. */
export async function pause(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  const { port1 } = new MessageChannel();
  port1.ref();
  try {
    await sleep(clock, delayMs, signal);
  } finally {
    port1.close();
  }
}

/**
 * How long to wait after `error` before attempt number `attempt`: what the vault asked for, where that is longer. No
 * time at all while there are addresses that were not tried yet, unless the vault asked for it.
 */
export function retryDelayMs(clock: Clock, error: unknown, attempt: number, addressCount: number): number {
  const askedMs = isKind(error, "overloaded", "unavailable") ? (error.detail.retryAfterMs ?? 0) : 0;
  const ownMs = attempt < addressCount ? 0 : backoffMs(clock, attempt - addressCount + 1);
  return Math.max(askedMs, ownMs);
}
