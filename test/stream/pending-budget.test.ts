import test from "ava";
import { PendingBudget } from "../../src/stream/pending-budget.ts";
import type { Room } from "../../src/stream/pending-budget.ts";

const never = new AbortController().signal;

/** Stands in line for each of these, and notes the order in which they get room. */
function standInLine(budget: PendingBudget, requests: readonly number[], entered: string[], name = "") {
  return requests.map(async (bytes, i): Promise<Room> => {
    const room = await budget.waitForRoom(bytes, never);
    entered.push(`${name}${i}`);
    return room;
  });
}

const settle = () => new Promise((resolve) => setImmediate(resolve));

test("pending budget - who waits gets room in the order of coming, as much as there is", async (t) => {
  const budget = new PendingBudget(100);
  const entered: string[] = [];
  const rooms = standInLine(budget, [40, 40, 10, 10, 40], entered);
  await settle();
  t.deepEqual(entered, ["0", "1"]);
  t.is(budget.usedBytes, 80);
  (await rooms[0]!).release();
  await settle();
  t.deepEqual(entered, ["0", "1", "2", "3"], "with 60 bytes nobody else gets in");
  (await rooms[1]!).release();
  for (const room of rooms) (await room).release();
  t.is(budget.usedBytes, 0);
  t.is(budget.count, 0);
});

test("pending budget - who comes later does not pass by those who wait", async (t) => {
  const budget = new PendingBudget(100);
  budget.take(90);
  const entered: string[] = [];
  const waiting = standInLine(budget, [60], entered, "early");
  await settle();
  budget.giveBack(90);
  const late = standInLine(budget, [1], entered, "late");
  await settle();
  t.deepEqual(entered, ["early0"]);
  (await waiting[0]!).release();
  await late[0];
});

test("pending budget - room is taken from the parent too, and waited for there", async (t) => {
  const parent = new PendingBudget(100);
  const [a, b] = [new PendingBudget(1000, parent), new PendingBudget(1000, parent)];
  const entered: string[] = [];
  const first = standInLine(a, [60], entered, "a");
  const second = standInLine(b, [60], entered, "b");
  await settle();
  t.deepEqual(entered, ["a0"]);
  t.is(parent.usedBytes, 60);
  (await first[0]!).release();
  (await second[0]!).release();
  t.deepEqual([a.usedBytes, b.usedBytes, parent.usedBytes], [0, 0, 0]);
});

test("pending budget - what is taken for a wait that was given up is given back by its release, once", async (t) => {
  const parent = new PendingBudget(100);
  const budget = new PendingBudget(100, parent);
  budget.take(100);
  const gone = new AbortController();
  const waiting = budget.waitForRoom(10, gone.signal);
  gone.abort();
  const room = await waiting;
  t.is(budget.usedBytes, 110);
  room.release();
  room.release();
  t.deepEqual([budget.usedBytes, parent.usedBytes], [100, 100]);
});
