import test from "ava";

import { createMemoryStore } from "../src/blob/memory.ts";
import { VaultError } from "../src/errors.ts";
import { createReadiness } from "../src/readiness.ts";
import { createClock } from "./support/create-clock.ts";
import { createFaultyStore } from "./support/create-faulty-store.ts";

/** A judge whose node serves and knows a leader unless `node` says otherwise. */
function createJudge() {
  const clock = createClock();
  const faulty = createFaultyStore(createMemoryStore(clock));
  const node = { serving: true, leaderKnown: true };
  const hindrance = createReadiness({
    store: faulty.store,
    clock,
    storageMsMax: 5000,
    serving: () => node.serving,
    leaderKnown: () => node.leaderKnown,
  });
  return { clock, faulty, node, hindrance, asked: () => faulty.calls.get("properties") ?? 0 };
}

test("readiness - a node that serves, knows a leader and reaches storage is ready", async (t) => {
  t.is(await createJudge().hindrance(), undefined);
});

test("readiness - a node that starts or stops, or knows no leader, is not; storage is not asked", async (t) => {
  const { node, hindrance, asked } = createJudge();
  node.leaderKnown = false;
  t.is(await hindrance(), "no leader is known");
  node.serving = false;
  t.is(await hindrance(), "this node is starting or stopping");
  t.is(asked(), 0);
});

test("readiness - storage that cannot be used hinders, without its message", async (t) => {
  const { clock, faulty, hindrance } = createJudge();
  faulty.set("properties", () => Promise.reject(new VaultError("denied", "no: AccountKey=hush")));
  t.is(await hindrance(), "storage cannot be used (denied)");
  faulty.set("properties", undefined);
  await clock.advance(1000);
  t.is(await hindrance(), undefined);
});

test("readiness - storage that does not answer hinders, and is not asked again before it has", async (t) => {
  const { clock, faulty, hindrance, asked } = createJudge();
  const answer = Promise.withResolvers<unknown>();
  faulty.set("properties", () => answer.promise);
  const both = [hindrance(), hindrance()];
  await clock.advance(5000);
  t.deepEqual(await Promise.all(both), Array(2).fill("storage did not answer within 5000 ms"));
  const third = hindrance();
  t.is(asked(), 1);
  answer.resolve(undefined);
  t.is(await third, undefined);
  t.is(clock.timers, 0);
});

test("readiness - however many ask, storage is asked once a second", async (t) => {
  const { clock, hindrance, asked } = createJudge();
  await Promise.all(Array.from({ length: 10 }, hindrance));
  await clock.advance(999);
  await hindrance();
  t.is(asked(), 1);
  await clock.advance(1);
  await hindrance();
  t.is(asked(), 2);
});
