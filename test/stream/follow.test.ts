import test from "ava";
import type { SubscribeResponse } from "../../gen/messagevault/v1/vault_pb.ts";
import { createRandom } from "../support/create-clock.ts";
import { createEngine } from "../support/create-engine.ts";
import { drive } from "../support/drive.ts";
import { publish } from "../support/publish-records.ts";
import { below } from "../support/random-records.ts";
import { follow } from "../support/read-records.ts";
import { createHeldCall } from "../support/storage-faults.ts";
import { someRecords } from "../support/build-commit.ts";

const turn = () => new Promise((resolve) => void setImmediate(resolve));

for (const [what, tailBytes, segmentBytes] of [
  ["from the tail cache", 16 * 1024 * 1024, 16 * 1024 * 1024],
  ["through storage and rolls", 1, 64 * 1024],
  ["through both", 40_000, 64 * 1024],
] as const) {
  test(`follow - readers of every pace see each record once while others publish, ${what}`, async (t) => {
    const { open } = createEngine(t, { tailBytes, defaults: { segmentBytes }, settings: { frameBytes: 4096 } });
    const { vault } = open();
    await publish(vault, "s", ["first"]);
    const random = createRandom(1);
    const total = 400;
    const readers = Array.from({ length: 12 }, async (_, i) => {
      for (let wait = i * 3; wait > 0; wait--) await turn();
      const seen: bigint[] = [];
      const end = { at: "offset", offset: BigInt(total) } as const;
      const keyPrefix = Buffer.from(i % 4 === 3 ? "key-1" : "");
      for await (const response of follow(vault, "s", { end, keyPrefix })) {
        for (const record of response.records) {
          seen.push(record.offset);
          t.is(record.key.length === 0 || Buffer.from(record.key).toString() === `key-${record.offset}`, true);
        }
        for (let slow = below(random, i * 2 + 1); slow > 0; slow--) await turn();
      }
      return { seen, filtered: keyPrefix.length > 0 };
    });
    for (let next = 1; next < total;) {
      const count = Math.min(1 + below(random, 6), total - next);
      const published = publish(vault, "s", someRecords(count, 1 + below(random, 900), next));
      if (random() < 0.5) await published;
      next += count;
      if (random() < 0.3) await turn();
    }
    const all = Array.from({ length: total }, (_, i) => BigInt(i));
    for (const { seen, filtered } of await Promise.all(readers)) {
      t.deepEqual(seen, filtered ? all.filter((offset) => offset > 0n && `${offset}`.startsWith("1")) : all);
    }
  });
}

test("follow - silence is broken by heartbeats, and a record is told at once", async (t) => {
  const { open, clock } = createEngine(t);
  const { vault } = open();
  await publish(vault, "s", ["a"]);
  const got: SubscribeResponse[] = [];
  const abort = new AbortController();
  const reading = (async () => {
    for await (const response of follow(vault, "s", { heartbeatMs: 1000 }, abort.signal)) got.push(response);
  })();
  await clock.settle();
  t.is(got.length, 1);
  t.like(got[0], { caughtUp: true, nextOffset: 1n });
  await clock.advance(999);
  t.is(got.length, 1);
  await clock.advance(1);
  t.is(got.length, 2);
  t.like(got[1], { records: [], nextOffset: 1n, tailOffset: 1n, caughtUp: true });
  t.not(got[1]!.incarnation, "");
  await clock.advance(500);
  await publish(vault, "s", ["b"]);
  await clock.settle();
  t.is(got.length, 3);
  t.is(got[2]!.records.length, 1);
  await clock.advance(999);
  t.is(got.length, 3);
  await clock.advance(3001);
  t.is(got.length, 7);
  abort.abort();
  await reading;
});

test("follow - a filter that matches nothing says when the tail is reached, and where it stands", async (t) => {
  const { open, clock } = createEngine(t, { tailBytes: 1, settings: { frameBytes: 4096 }, blockBytes: 16 * 1024 });
  const { vault } = open();
  for (let i = 0; i < 40; i++) await publish(vault, "s", someRecords(5, 1000, i * 5));
  const got: SubscribeResponse[] = [];
  const abort = new AbortController();
  const options = { keyPrefix: Buffer.from("none"), heartbeatMs: 1000 };
  const reading = (async () => {
    for await (const response of follow(vault, "s", options, abort.signal)) got.push(response);
  })();
  for (let i = 0; i < 100; i++) await turn();
  t.is(got.length, 2);
  t.like(got[0], { caughtUp: false });
  t.like(got[1], { records: [], caughtUp: true, nextOffset: 200n });
  for (let i = 0; i < 5; i++) await publish(vault, "s", someRecords(1));
  await clock.settle();
  t.is(got.length, 2, "records that do not match are no news");
  await clock.advance(1000);
  t.like(got[2], { records: [], caughtUp: true, nextOffset: 205n });
  abort.abort();
  await reading;
});

test("follow - a start in the future waits for its time", async (t) => {
  const { open, clock } = createEngine(t);
  const { vault } = open();
  await publish(vault, "s", ["old"]);
  const start = { at: "timestamp", timestamp: clock.now() + 5000 } as const;
  const reading = Array.fromAsync(follow(vault, "s", { start, end: { at: "count", count: 1n } }));
  await clock.advance(1000);
  await publish(vault, "s", ["early"]);
  await clock.advance(4000);
  await publish(vault, "s", ["in time"]);
  const records = (await drive(clock, reading)).flatMap((response) => response.records);
  t.deepEqual(
    records.map((record) => Buffer.from(record.value).toString()),
    ["in time"],
  );
});

test("follow - an end in the future ends when it comes, though nothing is published", async (t) => {
  const { open, clock } = createEngine(t);
  const { vault } = open();
  await publish(vault, "s", ["a"]);
  const end = { at: "timestamp", timestamp: clock.now() + 5000 } as const;
  let ended = false;
  const reading = (async () => {
    const responses = await Array.fromAsync(follow(vault, "s", { end }));
    ended = true;
    return responses.flatMap((response) => response.records).length;
  })();
  await clock.advance(4000);
  await publish(vault, "s", ["b"]);
  await clock.advance(999);
  t.false(ended);
  await clock.advance(20);
  t.true(ended);
  t.is(await reading, 2);
});

test("follow - an end that comes while a commit from before it is under way waits for that", async (t) => {
  const { open, clock, faulty } = createEngine(t);
  const { vault } = open();
  await publish(vault, "s", ["a"]);
  const held = createHeldCall();
  faulty.set("writePages", held.fault);
  const end = { at: "timestamp", timestamp: clock.now() + 1000 } as const;
  const reading = Array.fromAsync(follow(vault, "s", { end }));
  const publishing = publish(vault, "s", ["b"]);
  await clock.advance(5000);
  held.release();
  await publishing;
  const records = (await drive(clock, reading)).flatMap((response) => response.records);
  t.is(records.length, 2);
});

test("follow - a reader that stalls holds nothing and goes on from storage", async (t) => {
  const { open } = createEngine(t, { tailBytes: 100_000, settings: { frameBytes: 4096 } });
  const { vault, engine } = open();
  await publish(vault, "s", ["first"]);
  const stalled = follow(vault, "s", { end: { at: "offset", offset: 601n } });
  t.is((await stalled.next()).value!.records.length, 1);
  for (let i = 0; i < 200; i++) await publish(vault, "s", someRecords(3, 2000, 1 + i * 3));
  t.true(engine.tailBudget.usedBytes <= 100_000);
  const rest = await Array.fromAsync(stalled);
  t.deepEqual(
    rest.flatMap((response) => response.records).map((record) => record.offset),
    Array.from({ length: 600 }, (_, i) => BigInt(i + 1)),
  );
});

test("follow - many readers of the same old records read storage once", async (t) => {
  const { open, faulty } = createEngine(t, { tailBytes: 1, blockBytes: 64 * 1024 });
  const { vault } = open();
  for (let i = 0; i < 60; i++) await publish(vault, "s", someRecords(5, 2000, i * 5));
  const before = faulty.calls.get("read") ?? 0;
  const read = () => Array.fromAsync(follow(vault, "s", { end: { at: "tail" } }));
  const all = await Promise.all(Array.from({ length: 20 }, read));
  t.true(all.every((responses) => responses.flatMap((response) => response.records).length === 300));
  const reads = faulty.calls.get("read")! - before;
  t.true(reads <= 16, `${reads} reads`);
});

test("follow - nothing that is not durable is seen", async (t) => {
  const { open, faulty, clock } = createEngine(t);
  const { vault } = open();
  await publish(vault, "s", ["a"]);
  const reader = follow(vault, "s");
  await reader.next();
  const held = createHeldCall();
  faulty.set("writePages", held.fault);
  const publishing = publish(vault, "s", ["b"]);
  let seen = false;
  const next = reader.next().then((result) => {
    seen = true;
    return result;
  });
  await clock.settle();
  t.false(seen);
  held.release();
  await publishing;
  t.is((await next).value!.records.length, 1);
  await reader.return(undefined);
});

test("follow - an abort ends a subscription that waits, and one that is not read frees its place", async (t) => {
  const { open, clock } = createEngine(t, { settings: { subscriptionsMax: 2 } });
  const { vault } = open();
  await publish(vault, "s", ["a"]);
  const abort = new AbortController();
  const first = Array.fromAsync(follow(vault, "s", {}, abort.signal));
  const second = follow(vault, "s");
  await second.next();
  t.like(await t.throwsAsync(follow(vault, "s").next()), { kind: "overloaded" });
  abort.abort();
  t.is((await first).length, 1);
  const third = follow(vault, "s");
  await third.next();
  await second.return(undefined);
  await third.return(undefined);
  await clock.settle();
  t.is(clock.timers, 0);
});

test("follow - a vault that closes ends subscriptions with unavailable", async (t) => {
  const { open } = createEngine(t);
  const { vault } = open();
  await publish(vault, "s", ["a"]);
  const reader = follow(vault, "s");
  await reader.next();
  const ending = t.throwsAsync(reader.next());
  await vault.close();
  t.like(await ending, { kind: "unavailable" });
});
