import test from "ava";
import { isKind, VaultError } from "../../src/errors.ts";
import { createEngine } from "../support/create-engine.ts";
import { drive } from "../support/drive.ts";
import { publish } from "../support/publish-records.ts";
import { readValues } from "../support/read-records.ts";
import { findingsOf } from "../support/run-workload.ts";
import { createHeldCall, script } from "../support/storage-faults.ts";

test("fencing - a write in flight when a newer leader opens is unknown, what is queued is not stored", async (t) => {
  const engine = createEngine(t);
  const { open, faulty, memory, clock } = engine;
  const old = open();
  await publish(old.vault, "s", ["a"]);
  const held = createHeldCall();
  faulty.set("writePages", held.fault);
  const inFlight = publish(old.vault, "s", ["x"]);
  await clock.settle();
  const queued = [publish(old.vault, "s", ["y"]), publish(old.vault, "s", ["z"])];
  const next = open({ store: memory });
  t.like(await publish(next.vault, "s", ["b"]), { firstOffset: 1n });
  held.release();
  const results = await drive(clock, Promise.allSettled([inFlight, ...queued]));
  t.deepEqual(
    results.map((result) => result.status === "rejected" && result.reason.kind),
    ["indeterminate", "unavailable", "unavailable"],
  );
  t.like(await publish(next.vault, "s", ["c"]), { firstOffset: 2n });
  t.deepEqual(await readValues(open({ store: memory }).vault, "s"), ["a", "b", "c"]);
  t.deepEqual(await findingsOf(engine, "s"), []);
});

test("fencing - a write that was applied before the newer leader opened is read by it, its answer unknown", async (t) => {
  const { open, faulty, memory, clock } = createEngine(t);
  const old = open();
  await publish(old.vault, "s", ["a"]);
  const gate = Promise.withResolvers<void>();
  script(faulty, "writePages", [
    async (forward) => {
      await forward();
      await gate.promise;
      throw new Error("unreachable");
    },
  ]);
  const inFlight = publish(old.vault, "s", ["b"]);
  await clock.settle();
  const next = open({ store: memory });
  t.like(await publish(next.vault, "s", ["c"]), { firstOffset: 2n });
  old.leadership.depose();
  gate.resolve();
  t.like(await drive(clock, t.throwsAsync(inFlight)), { kind: "indeterminate" });
  t.deepEqual(await readValues(next.vault, "s"), ["a", "b", "c"]);
});

test("fencing - an old leader's publishes, rolls, trims and deletions change nothing any more", async (t) => {
  const engine = createEngine(t, { defaults: { segmentBytes: 64 * 1024 } });
  const { open, memory, clock } = engine;
  const old = open();
  const values = Array.from({ length: 12 }, (_, i) => `${i}`.padEnd(8000, "."));
  for (const value of values) await publish(old.vault, "s", [value]);
  const next = open({ store: memory });
  await publish(next.vault, "s", ["next"]);
  for (const attempt of [
    () => publish(old.vault, "s", ["x".repeat(100_000)]),
    () => old.vault.deleteStream("s", undefined),
    () => publish(old.vault, "s", ["y"]),
    () => publish(old.vault, "new", ["y"]),
  ]) {
    const error = await drive(clock, t.throwsAsync(attempt()));
    t.true(isKind(error, "unavailable", "indeterminate"), String(error));
  }
  await publish(next.vault, "s", ["end"]);
  t.deepEqual(await readValues(open({ store: memory }).vault, "s"), [...values, "next", "end"]);
  t.deepEqual(await findingsOf(engine, "s"), []);
});

test("fencing - a lost lease stops the writer before it sends", async (t) => {
  const { open, faulty, clock } = createEngine(t);
  const { vault, leadership } = open();
  await publish(vault, "s", ["a"]);
  const writes = faulty.calls.get("writePages")!;
  leadership.depose();
  t.like(await drive(clock, t.throwsAsync(publish(vault, "s", ["x"]))), { kind: "unavailable" });
  t.is(faulty.calls.get("writePages"), writes);
});

test("fencing - a create that arrives after its segment was made, trimmed and deleted by others is taken back", async (t) => {
  const engine = createEngine(t, { defaults: { segmentBytes: 64 * 1024 } });
  const { open, faulty, memory, clock } = engine;
  const old = open();
  const value = (i: number) => `${i}`.padEnd(20_000, ".");
  for (let i = 0; i < 3; i++) await publish(old.vault, "s", [value(i)]);
  const held = createHeldCall();
  faulty.set("createPages", held.fault);
  const rolling = publish(old.vault, "s", [value(3)]);
  await clock.settle();
  t.true(held.waiting);
  // Another leader finds the seal, makes the segment, fills it, rolls, and all of it is trimmed and deleted.
  const next = open({ store: memory });
  for (let i = 3; i < 12; i++) await publish(next.vault, "s", [value(i)]);
  await next.vault.trimStream("s", { offset: 12n });
  const names = async () => (await memory.list("streams/s/", 100)).items.map((item) => item.name);
  const before = await names();
  held.release();
  t.true(isKind(await drive(clock, t.throwsAsync(rolling)), "unavailable", "indeterminate"));
  t.deepEqual(await names(), before);
  await publish(next.vault, "s", ["end"]);
  t.deepEqual(await readValues(open({ store: memory }).vault, "s"), ["end"]);
  t.deepEqual(await findingsOf(engine, "s"), []);
});

test("fencing - an old leader does not write to a stream that was deleted meanwhile", async (t) => {
  for (const again of [false, true]) {
    const { open, memory, clock } = createEngine(t);
    const old = open();
    await publish(old.vault, "s", ["a"]);
    const next = open({ store: memory });
    await next.vault.deleteStream("s", undefined);
    if (again) await publish(next.vault, "s", ["b"]);
    const before = (await memory.list("streams/", 100)).items;
    const error = await drive(clock, t.throwsAsync(publish(old.vault, "s", ["x"])));
    t.true(isKind(error, "notFound", "unavailable", "indeterminate"), String(error));
    t.deepEqual((await memory.list("streams/", 100)).items, before);
    t.deepEqual(await readValues(open({ store: memory }).vault, "s").catch(() => []), again ? ["b"] : []);
  }
});

test("fencing - the first segment of a stream that was deleted before it arrived is taken back", async (t) => {
  const { open, faulty, memory, clock } = createEngine(t);
  const old = open();
  const held = createHeldCall();
  faulty.set("createPages", held.fault);
  const first = publish(old.vault, "s", ["x"]);
  await clock.settle();
  t.true(held.waiting);
  const next = open({ store: memory });
  await publish(next.vault, "s", ["a"]);
  await next.vault.deleteStream("s", undefined);
  held.release();
  t.like(await drive(clock, t.throwsAsync(first)), { kind: "notFound" });
  t.deepEqual((await memory.list("streams/", 100)).items, []);
});

test("fencing - a write under an epoch that is over is not taken for stored because another stands in its place", async (t) => {
  const { open, faulty, memory, clock } = createEngine(t);
  const old = open();
  await publish(old.vault, "s", ["a"]);
  const gate = Promise.withResolvers<never>();
  script(faulty, "writePages", [() => gate.promise]);
  const inFlight = publish(old.vault, "s", ["x"]);
  await clock.settle();
  const queued = publish(old.vault, "s", ["y"]);
  const next = open({ store: memory });
  t.like(await publish(next.vault, "s", ["b"]), { firstOffset: 1n });
  // The first node leads again.
  old.leadership.lead(3);
  gate.reject(new VaultError("indeterminate", "the request timed out"));
  t.like(await drive(clock, t.throwsAsync(inFlight)), { kind: "indeterminate" });
  t.like(await drive(clock, queued), { firstOffset: 2n });
  t.deepEqual(await readValues(old.vault, "s"), ["a", "b", "y"]);
});

test("fencing - a stream that another leader deleted can be made again", async (t) => {
  const { open, memory, clock } = createEngine(t);
  const old = open();
  const { incarnation } = await publish(old.vault, "s", ["a"]);
  await open({ store: memory }).vault.deleteStream("s", undefined);
  old.leadership.lead(3);
  t.like(await drive(clock, t.throwsAsync(publish(old.vault, "s", ["x"]))), { kind: "notFound" });
  const again = await publish(old.vault, "s", ["new"]);
  t.is(again.firstOffset, 0n);
  t.not(again.incarnation, incarnation);
  t.deepEqual(await readValues(old.vault, "s"), ["new"]);
});

test("fencing - an old leader that does not know it yet - refuses nothing by what it remembers", async (t) => {
  const { open, memory, clock } = createEngine(t);
  const old = open();
  const producer = (sequence: bigint) => ({ producer: { id: "p", sequence } });
  await publish(old.vault, "s", ["a"], producer(1n));
  const next = open({ store: memory });
  t.like(await publish(next.vault, "s", ["b"], producer(2n)), { firstOffset: 1n });
  const late = [publish(old.vault, "s", ["c"], producer(3n)), publish(old.vault, "s", ["d"], { expectedOffset: 2n })];
  const results = await drive(clock, Promise.allSettled(late));
  t.deepEqual(
    results.map((result) => result.status === "rejected" && result.reason.kind),
    ["unavailable", "unavailable"],
  );
  t.like(await publish(next.vault, "s", ["c"], producer(3n)), { firstOffset: 2n });
});
