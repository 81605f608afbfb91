import test from "ava";
import type { Clock } from "../../src/clock.ts";
import { systemClock } from "../../src/clock.ts";
import { Notifier } from "../../src/stream/notifier.ts";

const settle = () => Promise.resolve();

/** A clock whose turns end when they are told to. */
function createSteppedClock(): { clock: Clock; next(): Promise<void>; readonly waiting: number } {
  const turns: (() => void)[] = [];
  return {
    clock: { ...systemClock, turn: () => new Promise((resolve) => void turns.push(resolve)) },
    async next() {
      turns.shift()!();
      await settle();
      await settle();
    },
    get waiting() {
      return turns.length;
    },
  };
}

function waitTimes(notifier: Notifier, count: number, woken: number[], signal?: AbortSignal): void {
  for (let i = 0; i < count; i++) void notifier.wait(undefined, signal).then(() => woken.push(i));
}

test("notifier - all who wait are woken, in their order, some at a time with turns for others between", async (t) => {
  const stepped = createSteppedClock();
  const notifier = new Notifier(stepped.clock, 128);
  const woken: number[] = [];
  waitTimes(notifier, 300, woken);
  notifier.notify();
  await settle();
  t.is(woken.length, 128);
  await stepped.next();
  t.is(woken.length, 256);
  await stepped.next();
  t.deepEqual(
    woken,
    Array.from({ length: 300 }, (_, i) => i),
  );
  t.is(stepped.waiting, 0);
});

test("notifier - what happens again while some are still to be woken wakes who waits by then, once", async (t) => {
  const stepped = createSteppedClock();
  const notifier = new Notifier(stepped.clock, 128);
  const woken: number[] = [];
  const later: number[] = [];
  waitTimes(notifier, 200, woken);
  notifier.notify();
  await settle();
  waitTimes(notifier, 10, later);
  notifier.notify();
  t.is(stepped.waiting, 1, "nobody else begins to wake");
  await stepped.next();
  t.is(woken.length, 200);
  t.is(later.length, 10);
  t.is(stepped.waiting, 0);
  waitTimes(notifier, 10, later);
  await settle();
  t.is(later.length, 10, "who begins to wait is not woken by what was before");
});

test("notifier - who is still to be woken can be aborted, and is forgotten then", async (t) => {
  const stepped = createSteppedClock();
  const notifier = new Notifier(stepped.clock, 128);
  const [woken, aborted]: [number[], number[]] = [[], []];
  waitTimes(notifier, 128, woken);
  const controller = new AbortController();
  waitTimes(notifier, 5, aborted, controller.signal);
  notifier.notify();
  controller.abort();
  await settle();
  t.is(aborted.length, 5);
  const later: number[] = [];
  waitTimes(notifier, 200, later);
  notifier.notify();
  t.is(stepped.waiting, 1, "the turn that was asked for wakes them");
  await stepped.next();
  t.is(woken.length + aborted.length, 133);
  t.is(later.length, 128);
  await stepped.next();
  t.is(later.length, 200);
  t.is(stepped.waiting, 0);
});
