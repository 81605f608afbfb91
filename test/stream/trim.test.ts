import test from "ava";
import { silentLog } from "../../src/log.ts";
import { createEngine } from "../support/create-engine.ts";
import { drive } from "../support/drive.ts";
import { publish } from "../support/publish-records.ts";
import { follow, readRecords } from "../support/read-records.ts";
import { findingsOf } from "../support/run-workload.ts";
import { createHeldCall, loseAnswer, loseRequest, refuse, script, throttle } from "../support/storage-faults.ts";
import { someRecords } from "../support/build-commit.ts";
import type { Start } from "../../src/stream/commands.ts";
import type { Vault } from "../../src/stream/vault.ts";

const small = { defaults: { segmentBytes: 64 * 1024 }, settings: { frameBytes: 4096 }, blockBytes: 16 * 1024 };

async function fill(vault: Vault, batches = 30): Promise<void> {
  for (let i = 0; i < batches; i++) await publish(vault, "s", someRecords(5, 2000, i * 5), producerOf(i));
}

function producerOf(sequence: number) {
  return { producer: { id: "p", sequence: BigInt(sequence) } };
}

test("trim - what is before the point is gone at once, whole segments soon after", async (t) => {
  const engine = createEngine(t, small);
  const { vault } = engine.open();
  await fill(vault);
  const before = await vault.getStream("s");
  t.true(before.segmentCount >= 4);
  t.is(await vault.trimStream("s", { offset: 77n }), 77n);
  const after = await vault.getStream("s");
  t.is(after.firstOffset, 77n);
  t.true(after.segmentCount < before.segmentCount);
  for (const node of [vault, engine.open().vault]) {
    t.deepEqual(
      (await readRecords(node, "s")).map((record) => record.offset),
      Array.from({ length: 73 }, (_, i) => BigInt(i + 77)),
    );
    const early = readRecords(node, "s", { start: { at: "offset", offset: 76n } });
    t.like(await t.throwsAsync(early), { kind: "outOfRange" });
  }
  t.deepEqual(await findingsOf(engine, "s"), []);
});

test("trim - it never goes back, nor beyond the tail", async (t) => {
  const { open } = createEngine(t, small);
  const { vault } = open();
  await fill(vault, 3);
  t.is(await vault.trimStream("s", { offset: 9n }), 9n);
  t.is(await vault.trimStream("s", { offset: 3n }), 9n);
  t.like(await t.throwsAsync(vault.trimStream("s", { offset: 16n })), { kind: "outOfRange" });
  t.is(await vault.trimStream("s", { offset: 15n }), 15n);
  t.is((await readRecords(vault, "s")).length, 0);
  t.like(await publish(vault, "s", ["next"]), { firstOffset: 15n });
});

test("trim - by time the first record at or after it becomes the first", async (t) => {
  const { open, clock } = createEngine(t, small);
  const { vault } = open();
  const times: number[] = [];
  for (let i = 0; i < 10; i++) {
    times.push((await publish(vault, "s", someRecords(5, 2000, i * 5))).timestamp);
    await clock.advance(1000);
  }
  t.is(await vault.trimStream("s", { timestamp: times[3]! }), 15n);
  t.is(await vault.trimStream("s", { timestamp: times[3]! + 1 }), 20n);
  t.is(await vault.trimStream("s", { timestamp: times[9]! + 5000 }), 50n);
});

test("trim - producers and the last time are kept, though all their segments go", async (t) => {
  for (const close of [false, true]) {
    const { open, clock, memory } = createEngine(t, small);
    const { vault } = open();
    await fill(vault);
    await clock.advance(1000);
    // The open segment is empty: what was before it lives in its checkpoint alone.
    await vault.updateStream("s", { segmentAgeMs: 1 });
    await vault.use("s", (stream) => stream.rollIfAged());
    t.is(await vault.trimStream("s", { offset: 150n }), 150n);
    t.is((await vault.getStream("s")).segmentCount, 1);
    if (close) await vault.close();
    const again = open();
    t.is((await again.vault.getStream("s")).lastTimestamp, clock.now() - 1000);
    t.like(await publish(again.vault, "s", someRecords(5, 2000, 145), producerOf(29)), {
      firstOffset: 145n,
      duplicate: true,
    });
    t.like(await t.throwsAsync(publish(again.vault, "s", ["x"], producerOf(31))), { kind: "conflict" });
    t.like(await publish(again.vault, "s", ["y"], producerOf(30)), { firstOffset: 150n });
    t.is((await memory.list("streams/s/", 100)).items.filter((item) => item.name.endsWith(".segment")).length, 1);
  }
});

test("trim - a segment that late requests make anew, with its checkpoint, is not taken for damage", async (t) => {
  const { open, faulty } = createEngine(t, small);
  const { vault } = open();
  const repeats: (() => Promise<unknown>)[] = [];
  for (const call of ["createPages", "put"] as const) {
    faulty.set(call, (forward, [name]) => {
      if (String(name).includes("/00000000000000000000.")) repeats.push(forward);
      return forward();
    });
  }
  await publish(vault, "s", someRecords(5, 2000), producerOf(0));
  await vault.use("s", (stream) => stream.ensureCheckpoint());
  for (const call of ["createPages", "put"] as const) faulty.set(call, undefined);
  for (let i = 1; i < 12; i++) await publish(vault, "s", someRecords(5, 2000, i * 5), producerOf(i));
  await vault.trimStream("s", { offset: 60n });
  t.is((await vault.getStream("s")).segmentCount, 1);
  t.is(repeats.length, 2);
  for (const repeat of repeats) await repeat();
  const errors: string[] = [];
  const again = open({ log: { ...silentLog, error: (event) => void errors.push(event) } });
  t.like(await publish(again.vault, "s", ["x"], producerOf(12)), { firstOffset: 60n });
  t.deepEqual(errors, []);
});

test("trim - a checkpoint while a commit is under way does not hold what may never be stored", async (t) => {
  const { open, faulty, clock } = createEngine(t, { ...small, settings: { settleMs: 500 } });
  const { vault, leadership } = open();
  await fill(vault);
  const held = createHeldCall();
  faulty.set("writePages", held.fault);
  const publishing = publish(vault, "s", ["lost"], producerOf(30));
  await clock.settle();
  t.true(held.waiting);
  const trimming = vault.trimStream("s", { offset: 149n });
  await clock.settle();
  // The process ends here: the write never arrives.
  leadership.depose();
  const next = open();
  faulty.set("writePages", undefined);
  t.like(await publish(next.vault, "s", ["lost"], producerOf(30)), { firstOffset: 150n, duplicate: false });
  held.release();
  await drive(clock, Promise.allSettled([publishing, trimming]));
  t.is((await readRecords(open().vault, "s", { start: { at: "last", count: 5n } })).length, 2);
});

test("trim - a reader that is overtaken is told so", async (t) => {
  const { open, faulty, clock } = createEngine(t, { ...small, tailBytes: 1, readCacheBytes: 1 });
  const { vault } = open();
  await fill(vault);
  const between = follow(vault, "s");
  await between.next();
  const reading = follow(vault, "s");
  await reading.next();
  const held = createHeldCall();
  faulty.set("read", held.fault);
  const underWay = t.throwsAsync(async () => {
    for (;;) await reading.next();
  });
  await clock.settle();
  t.true(held.waiting);
  faulty.set("read", undefined);
  await vault.trimStream("s", { offset: 140n });
  held.release();
  t.like(await drive(clock, underWay), { kind: "outOfRange", detail: { found: { first_offset: "140" } } });
  const overtaken = t.throwsAsync(async () => {
    for (;;) await between.next();
  });
  t.like(await drive(clock, overtaken), { kind: "outOfRange" });
});

test("trim - a reader who named no offset and was told nothing yet - begins with what is left", async (t) => {
  const { open, faulty, clock } = createEngine(t, { ...small, tailBytes: 1, readCacheBytes: 1 });
  const { vault } = open();
  await fill(vault);
  const starts = [{ at: "earliest" }, { at: "timestamp", timestamp: 0 }, { at: "last", count: 149n }] as const;
  const readWhileTrimmed = async (start: Start, to: bigint) => {
    const held = createHeldCall();
    faulty.set("read", held.fault);
    const reading = readRecords(vault, "s", { start });
    await clock.settle();
    t.true(held.waiting);
    faulty.set("read", undefined);
    await vault.trimStream("s", { offset: to });
    held.release();
    return drive(clock, reading);
  };
  // Each trim takes a whole segment, so that what is read is not there any more.
  const named = readWhileTrimmed({ at: "offset", offset: 0n }, 35n);
  t.like(await t.throwsAsync(named), { kind: "outOfRange", detail: { found: { first_offset: "35" } } });
  for (const [i, start] of starts.entries()) {
    const to = BigInt(35 * (i + 2));
    t.is((await readWhileTrimmed(start, to))[0]!.offset, to, start.at);
  }
});

test("trim - a reader who heard a heartbeat and nothing else - is told that it was overtaken", async (t) => {
  const { open, faulty, clock } = createEngine(t, { ...small, tailBytes: 1, readCacheBytes: 1 });
  const { vault } = open();
  await fill(vault);
  faulty.set("read", throttle);
  const reading = follow(vault, "s", { heartbeatMs: 1000 });
  t.like(await drive(clock, reading.next()), { value: { nextOffset: 0n, records: [] } });
  await vault.trimStream("s", { offset: 70n });
  faulty.set("read", undefined);
  t.like(await t.throwsAsync(drive(clock, reading.next())), { kind: "outOfRange" });
});

test("trim - by a leader that was deposed and does not know it - is seen by the next one when it meets what is gone", async (t) => {
  const { open } = createEngine(t, { ...small, tailBytes: 1, readCacheBytes: 1 });
  const deposed = open().vault;
  await fill(deposed);
  const asked = {
    describe: async (vault: Vault) => (await vault.getStream("s")).firstOffset,
    access: async (vault: Vault) => (await vault.readAccess("s", 0n, 0n)).segments[0]!.firstOffset,
    trimToTime: (vault: Vault) => vault.trimStream("s", { timestamp: 0 }),
  };
  const leaders = Object.keys(asked).map(() => open().vault);
  for (const [i, ask] of Object.values(asked).entries()) {
    const leader = leaders[i]!;
    await publish(leader, "s", ["opened"]);
    const offset = BigInt(50 + 20 * i);
    t.is(await deposed.trimStream("s", { offset }), offset);
    const told = await ask(leader);
    t.true(told <= offset && told > offset - 30n, `${told}`);
    t.is((await leader.getStream("s")).firstOffset, offset);
    t.is((await readRecords(leader, "s"))[0]!.offset, offset);
  }
  await deposed.trimStream("s", { offset: 120n });
  const early = readRecords(leaders.at(-1)!, "s", { start: { at: "offset", offset: 95n } });
  t.like(await t.throwsAsync(early), { kind: "outOfRange", detail: { found: { first_offset: "120" } } });
});

test("trim - by a leader that was deposed - is seen by the next one, also where it knows the segments that are gone", async (t) => {
  const { open } = createEngine(t, { ...small, tailBytes: 1, readCacheBytes: 1 });
  const deposed = open().vault;
  await fill(deposed);
  const leader = open().vault;
  await publish(leader, "s", ["opened"]);
  t.is((await leader.getStream("s")).firstOffset, 0n);
  // What it has in memory is another block than the first by then.
  await readRecords(leader, "s", { start: { at: "offset", offset: 100n } });
  await deposed.trimStream("s", { offset: 77n });
  t.is((await leader.getStream("s")).firstOffset, 77n);
});

test("trim - where storage fails it is carried out all the same, or asked for again", async (t) => {
  for (const call of ["put", "remove", "properties", "get"] as const) {
    for (const fault of [loseAnswer, loseRequest, throttle, refuse]) {
      if (call !== "put" && call !== "remove" && fault === loseRequest) continue;
      const engine = createEngine(t, small);
      const { open, faulty, clock } = engine;
      const { vault } = open();
      await fill(vault);
      script(faulty, call, [fault]);
      await drive(
        clock,
        vault.trimStream("s", { offset: 100n }).catch(() => undefined),
      );
      const again = open();
      t.is(await again.vault.trimStream("s", { offset: 100n }), 100n);
      t.is((await readRecords(again.vault, "s")).length, 50);
      t.deepEqual(await findingsOf(engine, "s"), [], call);
      const { segmentCount } = await again.vault.getStream("s");
      t.true(segmentCount <= 3, `${segmentCount} segments are left`);
    }
  }
});

test("trim - without a checkpoint behind them segments stay", async (t) => {
  const { open, faulty } = createEngine(t, small);
  const { vault, leadership } = open();
  faulty.set("put", (forward, args) => (String(args[0]).endsWith(".index") ? refuse(forward, args) : forward()));
  await fill(vault);
  t.is(await vault.trimStream("s", { offset: 150n }), 150n);
  leadership.depose();
  faulty.set("put", undefined);
  const again = open();
  t.like(await publish(again.vault, "s", someRecords(5, 2000, 145), producerOf(29)), {
    firstOffset: 145n,
    duplicate: true,
  });
  t.like(await publish(again.vault, "s", someRecords(5, 2000, 0), producerOf(0)), { firstOffset: 0n, duplicate: true });
  t.is(await again.vault.trimStream("s", { offset: 150n }), 150n);
  t.is((await again.vault.getStream("s")).segmentCount, 1);
  t.like(await publish(open().vault, "s", someRecords(5, 2000, 0), producerOf(0)), { duplicate: true });
});

test("trim - a reader is told so though what it would read is still there", async (t) => {
  for (const tailBytes of [1, 16 * 1024 * 1024]) {
    const { open } = createEngine(t, { settings: { frameBytes: 4096, responseBytes: 8192 }, tailBytes });
    const { vault } = open();
    await fill(vault);
    const reader = follow(vault, "s");
    await reader.next();
    await vault.trimStream("s", { offset: 100n });
    t.like(await t.throwsAsync(reader.next()), { kind: "outOfRange", detail: { found: { first_offset: "100" } } });
  }
});
