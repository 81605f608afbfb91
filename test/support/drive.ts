import type { ManualClock } from "./create-clock.ts";

/** Moves time on until the promise settles, and returns what it settles to. Throws when it takes longer than `limitMs`. */
export async function drive<T>(clock: ManualClock, promise: Promise<T>, limitMs = 300_000): Promise<T> {
  const state = { settled: false };
  const mark = () => {
    state.settled = true;
  };
  promise.then(mark, mark);
  // What is not waiting for a timer gets its turns first.
  for (let turn = 0; turn < 20 && !state.settled; turn++) await clock.settle();
  await clock.advanceUntil(() => state.settled, limitMs);
  return promise;
}
