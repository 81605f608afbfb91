/**
 * A thread that tells its parent when something is due: timers of an event loop are a millisecond late, this is some
 * hundredths. Times are in milliseconds of the system's monotonic clock, which all threads and processes share.
 */
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";

/** When to tell: `count` times, the first at `startsAtMs`. */
export interface Pace {
  readonly startsAtMs: number;
  readonly intervalMs: number;
  readonly count: number;
}

/** The system's monotonic clock, in milliseconds. [libuv: uv_hrtime reads CLOCK_MONOTONIC] */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** Calls `due` with 0, 1, 2 … when each is due, or as soon after as this thread has time. Resolves after the last. */
export function pace({ startsAtMs, intervalMs, count }: Pace, due: (index: number) => void): Promise<void> {
  const worker = new Worker(new URL(import.meta.url), { workerData: { startsAtMs, intervalMs, count } });
  return new Promise((resolve, reject) => {
    worker.on("message", due);
    worker.on("error", reject);
    worker.on("exit", () => resolve());
  });
}

function tellWhenDue({ startsAtMs, intervalMs, count }: Pace): void {
  const never = new Int32Array(new SharedArrayBuffer(4));
  for (let index = 0; index < count; index++) {
    const waitMs = startsAtMs + index * intervalMs - monotonicMs();
    if (waitMs > 0) Atomics.wait(never, 0, 0, waitMs);
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, no window
    parentPort?.postMessage(index);
  }
}

if (!isMainThread) tellWhenDue(workerData as Pace);
