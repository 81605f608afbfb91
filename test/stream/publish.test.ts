import test from "ava";
import { isKind } from "../../src/errors.ts";
import { Vault } from "../../src/stream/vault.ts";
import { createEngine } from "../support/create-engine.ts";
import { publish, publishCommand } from "../support/publish-records.ts";
import { readRecords, readValues } from "../support/read-records.ts";
import { createHeldCall } from "../support/storage-faults.ts";
import { someRecords } from "../support/build-commit.ts";

test("publish - records come back in order, with dense offsets and the time of their append", async (t) => {
  const { open, clock } = createEngine(t);
  const { vault } = open();
  t.like(await publish(vault, "s", ["a", "b"]), { firstOffset: 0n, nextOffset: 2n, duplicate: false });
  await clock.advance(1500);
  const second = await publish(vault, "s", ["c"]);
  t.like(second, { firstOffset: 2n, nextOffset: 3n, timestamp: clock.now() });
  for (const node of [vault, open().vault]) {
    const records = await readRecords(node, "s");
    t.deepEqual(
      records.map((record) => [record.offset, Buffer.from(record.value).toString()]),
      [
        [0n, "a"],
        [1n, "b"],
        [2n, "c"],
      ],
    );
    t.is(records[2]!.timestamp!.seconds * 1000n + BigInt(records[2]!.timestamp!.nanos / 1e6), BigInt(clock.now()));
  }
});

test("publish - timestamps never go back, though the clock does", async (t) => {
  const { open, clock } = createEngine(t);
  const ahead = new Vault({ ...open().engine, clock: clock.ahead(60_000) });
  const first = await publish(ahead, "s", ["a"]);
  const behind = open();
  const second = await publish(behind.vault, "s", ["b"]);
  t.is(first.timestamp, clock.now() + 60_000);
  t.is(second.timestamp, first.timestamp);
});

test("group commit - what comes while a write is in flight goes out together", async (t) => {
  const { open, faulty, clock } = createEngine(t);
  const { vault } = open();
  await publish(vault, "s", ["first"]);
  const held = createHeldCall();
  faulty.set("writePages", held.fault);
  const before = faulty.calls.get("writePages")!;
  const publishes = [publish(vault, "s", ["0"])];
  await clock.settle();
  t.true(held.waiting);
  for (let i = 1; i < 20; i++) publishes.push(publish(vault, "s", [`${i}`]));
  held.release();
  const results = await Promise.all(publishes);
  t.deepEqual(
    results.map((result) => result.firstOffset),
    results.map((_, i) => BigInt(i + 1)),
  );
  t.is(faulty.calls.get("writePages")! - before, 2);
  t.is(results[1]!.timestamp, results[19]!.timestamp);
  t.deepEqual(await readValues(open().vault, "s"), ["first", ...results.map((_, i) => `${i}`)]);
});

test("group commit - at most one write is in flight per stream, and streams do not wait for each other", async (t) => {
  const { open, faulty } = createEngine(t);
  const { vault } = open();
  const inFlight = new Map<string, number>();
  let most = 0;
  let mostOfOne = 0;
  faulty.set("writePages", async (forward, [name]) => {
    const count = (inFlight.get(name as string) ?? 0) + 1;
    inFlight.set(name as string, count);
    mostOfOne = Math.max(mostOfOne, count);
    most = Math.max(
      most,
      [...inFlight.values()].reduce((a, b) => a + b),
    );
    await new Promise((resolve) => void setImmediate(resolve));
    inFlight.set(name as string, inFlight.get(name as string)! - 1);
    return forward();
  });
  const publishes = Array.from({ length: 60 }, async (_, i) => {
    for (let turn = 0; turn < i % 5; turn++) await new Promise((resolve) => void setImmediate(resolve));
    return publish(vault, `s${i % 3}`, [`${i}`]);
  });
  await Promise.all(publishes);
  t.is(mostOfOne, 1);
  t.is(most, 3);
});

test("group commit - a commit is at most one write of storage", async (t) => {
  const { open, faulty } = createEngine(t);
  const { vault } = open();
  await publish(vault, "s", ["first"]);
  const held = createHeldCall();
  const sizes: number[] = [];
  faulty.set("writePages", (forward, args) => {
    sizes.push((args[2] as Uint8Array).length);
    return held.fault(forward, args);
  });
  const publishes = Array.from({ length: 12 }, () => publish(vault, "s", someRecords(1, 900_000)));
  held.release();
  await Promise.all(publishes);
  t.true(sizes.every((size) => size <= 4 * 1024 * 1024));
  t.true(sizes.length >= 3 && sizes.length <= 5, `${sizes.length} writes`);
  t.is((await readRecords(open().vault, "s")).length, 13);
});

test("group commit - a linger gathers what comes within it", async (t) => {
  const { open, faulty, clock } = createEngine(t, { settings: { lingerMs: 20 } });
  const { vault } = open();
  const first = publish(vault, "s", ["a"]);
  await clock.advance(10);
  const second = publish(vault, "s", ["b"]);
  t.is(faulty.calls.get("writePages"), undefined);
  await clock.advance(10);
  t.deepEqual([(await first).firstOffset, (await second).firstOffset], [0n, 1n]);
  t.is(faulty.calls.get("writePages"), 1);
});

test("expected offset - it must be the one that the batch's first record gets", async (t) => {
  const { open } = createEngine(t);
  const { vault } = open();
  await publish(vault, "s", ["a", "b"], { expectedOffset: 0n });
  for (const expectedOffset of [0n, 1n, 3n]) {
    const error = await t.throwsAsync(publish(vault, "s", ["x"], { expectedOffset }));
    t.true(isKind(error, "conflict"));
    t.like(error, { detail: { condition: "expectedOffset", found: { next_offset: "2" } } });
  }
  t.like(await publish(vault, "s", ["c"], { expectedOffset: 2n }), { firstOffset: 2n });
  t.deepEqual(await readValues(open().vault, "s"), ["a", "b", "c"]);
});

test("expected offset - of publishes that race for an offset one wins", async (t) => {
  const { open } = createEngine(t);
  const { vault } = open();
  for (let round = 0n; round < 10n; round++) {
    const race = Array.from({ length: 8 }, (_, i) => publish(vault, "s", [`${round}-${i}`], { expectedOffset: round }));
    const results = await Promise.allSettled(race);
    t.is(results.filter((result) => result.status === "fulfilled").length, 1);
    t.true(results.every((result) => result.status === "fulfilled" || isKind(result.reason, "conflict")));
  }
  t.is((await readRecords(open().vault, "s")).length, 10);
});

test("publish - another incarnation than the stream's is refused", async (t) => {
  const { open } = createEngine(t);
  const { vault } = open();
  const { incarnation } = await publish(vault, "s", ["a"]);
  await publish(vault, "s", ["b"], { incarnation });
  const error = await t.throwsAsync(publish(vault, "s", ["x"], { incarnation: "f".repeat(32) }));
  t.like(error, { kind: "conflict", detail: { condition: "incarnation", found: { incarnation } } });
  t.deepEqual(await readValues(vault, "s"), ["a", "b"]);
});

test("publish - a stream is made by its first publish, unless the vault is told otherwise", async (t) => {
  const { open } = createEngine(t);
  const closed = open({ settings: { autoCreateStreams: false } });
  t.like(await t.throwsAsync(publish(closed.vault, "s", ["a"])), { kind: "notFound" });
  const { vault } = open();
  const results = await Promise.all(["a", "b", "c"].map((value) => publish(vault, "s", [value])));
  t.is(new Set(results.map((result) => result.incarnation)).size, 1);
  t.deepEqual(await readValues(vault, "s"), ["a", "b", "c"]);
});

test("publish - a refusal and a duplicate wait until what they were judged against is durable", async (t) => {
  const { open, faulty } = createEngine(t);
  const { vault } = open();
  const producer = { id: "p", sequence: 1n };
  await publish(vault, "s", ["zero"]);
  const held = createHeldCall();
  faulty.set("writePages", held.fault);
  const settled: string[] = [];
  const track = (name: string, promise: Promise<unknown>) =>
    promise.then(
      () => settled.push(name),
      () => settled.push(name),
    );
  const waiting = [
    track("stored", publish(vault, "s", ["one"], { producer })),
    track("duplicate", publish(vault, "s", ["one"], { producer })),
    track("refused", publish(vault, "s", ["x"], { expectedOffset: 1n })),
    track("accepted", publish(vault, "s", ["two"], { expectedOffset: 2n })),
  ];
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => void setImmediate(resolve));
  t.deepEqual(settled, []);
  held.release();
  await Promise.all(waiting);
  t.deepEqual(settled.toSorted(), ["accepted", "duplicate", "refused", "stored"]);
  t.deepEqual(await readValues(open().vault, "s"), ["zero", "one", "two"]);
});

test("publish - a batch larger than a small stream's segment is stored all the same", async (t) => {
  const { open } = createEngine(t, { defaults: { segmentBytes: 64 * 1024 } });
  const { vault } = open();
  for (let i = 0; i < 3; i++) await publish(vault, "s", someRecords(4, 900_000, i * 4));
  await publish(vault, "s", ["small"]);
  const records = await readRecords(open().vault, "s");
  t.is(records.length, 13);
  t.deepEqual(publishCommand("s", someRecords(4, 900_000)).batch.count, 4);
});
