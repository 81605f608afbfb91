/**
 * Virtual time: what happens next happens at once. Between two alarms everything that is ready to run has its turn, so
 * that a run depends on nothing but the order of the alarms.
 */

/** Something that happens at a time. */
export interface Alarm {
  /** Keeps it from happening; harmless when it has. */
  cancel(): void;
}

/** The one time of a simulation. */
export interface Scheduler {
  /** Milliseconds since the simulation began. */
  readonly now: number;
  /** How many alarms have gone off. */
  readonly fired: number;
  /** Calls `run` once in `delayMs` milliseconds. Alarms of the same time go off in the order in which they were set. */
  after(delayMs: number, run: () => void): Alarm;
  /** Lets time go on until `done` holds, `until` is reached or no alarm is left. Resolves to whether `done` holds. */
  run(until: number, done?: () => boolean): Promise<boolean>;
}

interface Entry {
  readonly at: number;
  readonly number: number;
  run: (() => void) | undefined;
}

/** Makes a scheduler whose time is 0. */
export function createScheduler(): Scheduler {
  const heap: Entry[] = [];
  let now = 0;
  let count = 0;
  let fired = 0;

  /** The next alarm up to then; what was cancelled is dropped. */
  const take = (until: number): Entry | undefined => {
    for (;;) {
      const next = heap[0];
      if (next === undefined || next.at > until) return undefined;
      pop(heap);
      if (next.run !== undefined) return next;
    }
  };

  return {
    get now() {
      return now;
    },
    get fired() {
      return fired;
    },
    after(delayMs, run) {
      const entry: Entry = { at: now + Math.max(0, delayMs), number: count++, run };
      push(heap, entry);
      return {
        cancel() {
          entry.run = undefined;
        },
      };
    },
    run(until, done = () => false) {
      /** One alarm. Returns undefined where there is more to come, else whether `done` holds. */
      const turn = (): boolean | undefined => {
        if (done()) return true;
        const next = take(until);
        if (next === undefined) {
          now = Math.max(now, Math.min(until, Number.MAX_SAFE_INTEGER));
          return done();
        }
        now = next.at;
        fired++;
        next.run!();
        return undefined;
      };
      return takeTurns(turn);
    },
  };
}

// So many turns are asked for at a time: a turn of the whole event loop for each alarm asks the kernel each time.
const turnsAtOnce = 64;

/**
 * Calls `turn` until it returns something. Node lets all promises that are due settle between two immediates, and ends
 * the process for a rejection that nobody handles; nothing in a simulation waits for anything else.
 */
function takeTurns<T>(turn: () => T | undefined): Promise<T> {
  return new Promise((resolve, reject) => {
    let left = 0;
    let isOver = false;
    const ask = () => {
      left = turnsAtOnce;
      for (let i = 0; i < turnsAtOnce; i++) setImmediate(take);
    };
    const take = () => {
      if (isOver) return;
      try {
        const result = turn();
        if (result !== undefined) {
          isOver = true;
          resolve(result);
        } else if (--left === 0) ask();
      } catch (error) {
        isOver = true;
        reject(error);
      }
    };
    ask();
  });
}

function isBefore(a: Entry, b: Entry): boolean {
  return a.at < b.at || (a.at === b.at && a.number < b.number);
}

function push(heap: Entry[], entry: Entry): void {
  let at = heap.push(entry) - 1;
  while (at > 0) {
    const parent = (at - 1) >> 1;
    if (!isBefore(entry, heap[parent]!)) break;
    heap[at] = heap[parent]!;
    at = parent;
  }
  heap[at] = entry;
}

function pop(heap: Entry[]): void {
  const last = heap.pop()!;
  if (heap.length === 0) return;
  let at = 0;
  for (;;) {
    let child = 2 * at + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
    if (!isBefore(heap[child]!, last)) break;
    heap[at] = heap[child]!;
    at = child;
  }
  heap[at] = last;
}
