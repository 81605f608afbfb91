import test from "ava";
import { createEngine } from "../support/create-engine.ts";
import { drive } from "../support/drive.ts";
import { publish, publishCommand } from "../support/publish-records.ts";
import { follow, readRecords, readValues } from "../support/read-records.ts";
import { createHeldCall } from "../support/storage-faults.ts";
import { someRecords } from "../support/build-commit.ts";

const KiB = 1024;

test("pending - over a stream's limit publishes are refused, and accepted again when there is room", async (t) => {
  const { open, faulty, clock } = createEngine(t, { settings: { streamPendingBytesMax: 100 * KiB } });
  const { vault } = open();
  await publish(vault, "s", ["a"]);
  await publish(vault, "other", ["a"]);
  const held = createHeldCall();
  faulty.set("writePages", held.fault);
  const pending = [0, 1, 2].map((i) => publish(vault, "s", someRecords(10, 4000, i)));
  await clock.settle();
  const refused = await t.throwsAsync(publish(vault, "s", ["x"]));
  t.like(refused, { kind: "overloaded", detail: { retryAfterMs: 100 } });
  const other = publish(vault, "other", ["b"]);
  let room = false;
  const waiting = vault.publishRoom("s", 1, new AbortController().signal).then(() => {
    room = true;
  });
  await clock.settle();
  t.false(room);
  held.release();
  await Promise.all([...pending, other, waiting]);
  await publish(vault, "s", ["c"]);
  t.is((await readRecords(open().vault, "s")).length, 32);
});

test("pending - over the vault's limit all streams are refused, also while they are opened", async (t) => {
  const { open, faulty, clock } = createEngine(t, { settings: { pendingBytesMax: 100 * KiB } });
  const { vault } = open();
  const held = createHeldCall();
  faulty.set("get", held.fault);
  const pending = [0, 1, 2].map((i) => publish(vault, `s${i}`, someRecords(10, 4000)));
  await clock.settle();
  t.like(await t.throwsAsync(publish(vault, "s3", ["x"])), { kind: "overloaded" });
  held.release();
  await Promise.all(pending);
  await publish(vault, "s3", ["y"]);
  await vault.publishRoom("s0", 1, new AbortController().signal);
  t.deepEqual(await readValues(open().vault, "s3"), ["y"]);
});

test("pending - what fails gives its room back", async (t) => {
  const { open, faulty, clock } = createEngine(t, { settings: { pendingBytesMax: 100 * KiB, settleMs: 100 } });
  const { vault } = open();
  await publish(vault, "s", ["a"]);
  for (const call of ["writePages", "get"] as const) {
    faulty.set(call, () => Promise.reject(new Error("a fault of our own")));
    for (let round = 0; round < 5; round++) {
      const stream = call === "get" ? `new-${round}` : "s";
      await drive(clock, t.throwsAsync(publish(vault, stream, someRecords(10, 5000)), { any: true }));
    }
    faulty.set(call, undefined);
  }
  t.like(await drive(clock, publish(vault, "s", ["b"])), { firstOffset: 1n });
});

test("pending - a wait for room ends with its caller", async (t) => {
  const { open, faulty, clock } = createEngine(t, { settings: { streamPendingBytesMax: 10 * KiB } });
  const { vault } = open();
  await publish(vault, "s", ["a"]);
  const held = createHeldCall();
  faulty.set("writePages", held.fault);
  const pending = publish(vault, "s", someRecords(10, 4000));
  await clock.settle();
  const abort = new AbortController();
  const waiting = vault.publishRoom("s", 1, abort.signal);
  abort.abort();
  await t.notThrowsAsync(waiting);
  held.release();
  await pending;
});

test("open streams - those that were not used for longest are closed, and opened again when they are used", async (t) => {
  const { open, memory } = createEngine(t, { settings: { openStreamsMax: 3 } });
  const { vault } = open();
  const reader = follow(vault, "s0");
  await publish(vault, "s0", ["0"]);
  await reader.next();
  for (let i = 1; i < 10; i++) await publish(vault, `s${i}`, [`${i}`]);
  for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => void setImmediate(resolve));
  const opened = [];
  for (let i = 0; i < 10; i++) if ((await vault.opened(`s${i}`)) !== undefined) opened.push(i);
  t.deepEqual(opened, [0, 8, 9], "what is read stays");
  // What was closed has a checkpoint.
  t.truthy((await memory.list("streams/s1/", 10)).items.find((item) => item.name.endsWith(".index")));
  t.like(await publish(vault, "s1", ["again"]), { firstOffset: 1n });
  await publish(vault, "s0", ["news"]);
  t.is((await reader.next()).value!.records.length, 1);
  await reader.return(undefined);
});

test("open streams - one that is being closed is opened again only when it is closed", async (t) => {
  const { open, faulty, clock } = createEngine(t, { settings: { openStreamsMax: 1 } });
  const { vault } = open();
  await publish(vault, "a", ["0"]);
  const checkpoint = createHeldCall();
  faulty.set("put", (forward, args) =>
    args[0] === "streams/b/stream.json" ? forward() : checkpoint.fault(forward, args),
  );
  await publish(vault, "b", ["0"]);
  await clock.settle();
  const raised = faulty.calls.get("raiseFence");
  const again = publish(vault, "a", ["1"]);
  await clock.settle();
  t.is(faulty.calls.get("raiseFence"), raised, "nobody else opens it meanwhile");
  checkpoint.release();
  t.like(await again, { firstOffset: 1n });
});

test("open streams - one that is used stays open", async (t) => {
  const { open, clock } = createEngine(t, { settings: { openStreamsMax: 1 } });
  const { vault } = open();
  await publish(vault, "a", ["0"]);
  await vault.use("a", async (stream) => {
    for (const other of ["b", "c"]) await publish(vault, other, ["0"]);
    await clock.settle();
    t.is(await vault.opened("a"), stream);
  });
  await publish(vault, "d", ["0"]);
  await clock.settle();
  t.is(await vault.opened("a"), undefined, "and no longer");
});

test("open streams - publishes to more streams than may be open all succeed", async (t) => {
  const { open } = createEngine(t, { settings: { openStreamsMax: 2 } });
  const { vault } = open();
  const publishes = Array.from({ length: 200 }, async (_, i) => {
    for (let turn = 0; turn < i % 7; turn++) await new Promise((resolve) => void setImmediate(resolve));
    return publish(vault, `s${i % 9}`, [`${i}`]);
  });
  const results = await Promise.allSettled(publishes);
  t.deepEqual(
    results.filter((result) => result.status === "rejected").map((result) => String(result.reason)),
    [],
  );
  let total = 0;
  for (let i = 0; i < 9; i++) total += (await readValues(open().vault, `s${i}`)).length;
  t.is(total, 200);
});

test("tail cache - all streams together stay within the budget, closed ones give theirs back", async (t) => {
  const { open } = createEngine(t, { tailBytes: 50_000, settings: { openStreamsMax: 4 } });
  const { vault, engine } = open();
  for (let i = 0; i < 100; i++) {
    await publish(vault, `s${i % 10}`, someRecords(3, 500, i));
    t.true(engine.tailBudget.usedBytes <= 50_000);
  }
  await vault.close();
  t.is(engine.tailBudget.usedBytes, 0);
});

test("tail cache - a large commit that was mostly refused does not hold its memory", async (t) => {
  const { open, faulty, clock } = createEngine(t);
  const { vault, engine } = open();
  await publish(vault, "s", ["a"]);
  const before = engine.tailBudget.usedBytes;
  const held = createHeldCall();
  faulty.set("writePages", held.fault);
  const publishing = [publish(vault, "s", ["b"])];
  await clock.settle();
  publishing.push(publish(vault, "s", ["c".repeat(3500)]));
  const refused = publish(vault, "s", someRecords(3, 1_000_000), { expectedOffset: 99n });
  const failed = t.throwsAsync(refused);
  held.release();
  await Promise.all(publishing);
  await failed;
  const stream = (await vault.opened("s"))!;
  const [frame] = (await stream.framesFrom(2n, false)).value;
  t.true(frame!.payload.buffer.byteLength < 100_000, "the frame's bytes are a copy");
  t.true(engine.tailBudget.usedBytes - before < 10_000);
});

test("settings - a larger segment size holds for segments made from then on", async (t) => {
  const { open } = createEngine(t, { defaults: { segmentBytes: 64 * KiB } });
  const { vault } = open();
  await publish(vault, "s", someRecords(10, 2000));
  await vault.updateStream("s", { segmentBytes: 64 * 1024 * KiB });
  // More than the first segment's blob can hold.
  for (let i = 0; i < 7; i++) await publish(vault, "s", someRecords(10, 90_000, i * 10));
  t.is((await vault.getStream("s")).segmentCount, 2);
  for (let i = 0; i < 6; i++) await publish(vault, "s", someRecords(10, 90_000, i * 10));
  t.is((await vault.getStream("s")).segmentCount, 2);
  t.is((await readRecords(open().vault, "s")).length, 140);
  t.is(publishCommand("s", someRecords(1)).batch.count, 1);
});

test("pending - of many that wait for room as many are let in as there is room for, and none of them is refused", async (t) => {
  const { open, faulty, clock } = createEngine(t, { settings: { streamPendingBytesMax: 100 * KiB } });
  const { vault } = open();
  await publish(vault, "s", ["a"]);
  const command = publishCommand("s", someRecords(1, 40 * KiB));
  const signal = new AbortController().signal;
  let [inFlight, most] = [0, 0];
  faulty.set("writePages", async (forward) => {
    most = Math.max(most, inFlight);
    return forward();
  });
  const pipelined = Array.from({ length: 20 }, async () => {
    for (let i = 0; i < 5; i++) {
      const room = await vault.publishRoom("s", command.batch.storedBytes, signal);
      inFlight++;
      await vault.publish(command, room);
      inFlight--;
    }
  });
  await drive(clock, Promise.all(pipelined));
  // At least half is free when one more is let in.
  t.is(most, 2);
  t.is((await readRecords(open().vault, "s")).length, 101);
});

test("pending - room that is given back untaken lets others in", async (t) => {
  const { open } = createEngine(t, { settings: { streamPendingBytesMax: 10 * KiB } });
  const { vault } = open();
  await publish(vault, "s", ["a"]);
  const signal = new AbortController().signal;
  const first = await vault.publishRoom("s", 6 * KiB, signal);
  const second = vault.publishRoom("s", 6 * KiB, signal);
  first.release();
  first.release();
  (await second).release();
  await t.notThrowsAsync(vault.publishRoom("s", 6 * KiB, signal));
});
