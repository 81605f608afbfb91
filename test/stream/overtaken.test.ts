/** A leader is overtaken while it opens a stream: between any two of its steps, and by its own late requests. */
import test from "ava";
import { isKind } from "../../src/errors.ts";
import { createEngine } from "../support/create-engine.ts";
import { drive } from "../support/drive.ts";
import { publish } from "../support/publish-records.ts";
import { readValues } from "../support/read-records.ts";
import { findingsOf } from "../support/run-workload.ts";
import { createHeldCall, createLateCall, loseRequest, script } from "../support/storage-faults.ts";

test("overtaken - what a newer leader wrote between the raise and the reading is not taken for one's own", async (t) => {
  const engine = createEngine(t);
  const { open, faulty, memory, clock } = engine;
  const old = open();
  await publish(old.vault, "s", ["a"]);
  script(faulty, "writePages", [loseRequest]);
  const next = open({ store: memory });
  script(faulty, "raiseFence", [
    async (forward) => {
      const raised = await forward();
      await publish(next.vault, "s", ["b"]);
      return raised;
    },
  ]);
  const error = await drive(clock, t.throwsAsync(publish(old.vault, "s", ["x"])));
  t.true(isKind(error, "unavailable", "indeterminate"), String(error));
  t.deepEqual(await readValues(open({ store: memory }).vault, "s"), ["a", "b"]);
  t.deepEqual(await findingsOf(engine, "s"), []);
});

test("overtaken - a segment that a late create made anew is not written to", async (t) => {
  const engine = createEngine(t, { defaults: { segmentBytes: 64 * 1024 } });
  const { open, faulty, memory, clock } = engine;
  const value = (i: number) => `${i}`.padEnd(20_000, ".");
  const old = open();
  const late = createLateCall();
  const rolls = createHeldCall();
  // The roll's create seems lost; the next attempt makes the segment, and then the old leader stands still.
  for (let i = 0; i < 3; i++) await publish(old.vault, "s", [value(i)]);
  script(faulty, "createPages", [late.fault]);
  await drive(clock, publish(old.vault, "s", [value(3)]));
  await old.vault.trimStream("s", { offset: 3n });
  script(faulty, "writePages", [loseRequest]);
  faulty.set("properties", rolls.fault);
  const stuck = publish(old.vault, "s", ["x"]);
  await clock.settle();
  await clock.settle();
  t.true(rolls.waiting);
  // Another leader fills the segment, rolls on, and it is trimmed away; then the late create makes it anew, empty.
  const next = open({ store: memory });
  for (let i = 4; i < 12; i++) await publish(next.vault, "s", [value(i)]);
  await next.vault.trimStream("s", { offset: 12n });
  await late.arrive();
  faulty.set("properties", undefined);
  rolls.release();
  const error = await drive(clock, t.throwsAsync(stuck));
  t.true(isKind(error, "unavailable", "indeterminate"), String(error));
  await publish(next.vault, "s", ["end"]);
  t.deepEqual(await readValues(open({ store: memory }).vault, "s"), ["end"]);
});

test("overtaken - a first segment that comes when others had made, filled and trimmed it is taken back", async (t) => {
  const engine = createEngine(t, { defaults: { segmentBytes: 64 * 1024 } });
  const { open, faulty, memory, clock } = engine;
  const value = (i: number) => `${i}`.padEnd(20_000, ".");
  const old = open();
  const held = createHeldCall();
  faulty.set("createPages", held.fault);
  const first = publish(old.vault, "s", ["x"]);
  await clock.settle();
  t.true(held.waiting);
  const next = open({ store: memory });
  for (let i = 0; i < 8; i++) await publish(next.vault, "s", [value(i)]);
  await next.vault.trimStream("s", { offset: 8n });
  const names = async () => (await memory.list("streams/s/", 100)).items.map((item) => item.name);
  const before = await names();
  faulty.set("createPages", undefined);
  held.release();
  const error = await drive(clock, t.throwsAsync(first));
  t.true(isKind(error, "unavailable", "indeterminate"), String(error));
  t.deepEqual(await names(), before);
  await publish(next.vault, "s", ["end"]);
  t.deepEqual(await readValues(open({ store: memory }).vault, "s"), ["end"]);
  t.deepEqual(await findingsOf(engine, "s"), []);
});

test("overtaken - a segment that is trimmed away while it is read is no stream that is not there", async (t) => {
  const engine = createEngine(t, { defaults: { segmentBytes: 64 * 1024 } });
  const { open, faulty, memory, clock } = engine;
  const value = (i: number) => `${i}`.padEnd(20_000, ".");
  const first = open();
  await publish(first.vault, "s", [value(0)]);
  const old = open();
  const held = createHeldCall();
  faulty.set("read", held.fault);
  const publishing = publish(old.vault, "s", ["x"]);
  await clock.settle();
  t.true(held.waiting);
  const next = open({ store: memory });
  for (let i = 1; i < 8; i++) await publish(next.vault, "s", [value(i)]);
  await next.vault.trimStream("s", { offset: 8n });
  faulty.set("read", undefined);
  held.release();
  const error = await drive(clock, t.throwsAsync(publishing));
  t.true(isKind(error, "unavailable", "indeterminate"), String(error));
});
