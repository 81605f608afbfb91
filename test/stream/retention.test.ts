import test from "ava";
import type { ExecutionContext } from "ava";
import { runRetention } from "../../src/stream/retention.ts";
import { someRecords } from "../support/build-commit.ts";
import type { EngineOptions, TestEngine, TestNode } from "../support/create-engine.ts";
import { createEngine } from "../support/create-engine.ts";
import { publish } from "../support/publish-records.ts";
import { readRecords, readValues } from "../support/read-records.ts";
import { findingsOf } from "../support/run-workload.ts";

const minuteMs = 60_000;

/** A vault that sweeps, as the leader's does. */
function createSweeping(t: ExecutionContext, options: EngineOptions): TestEngine & TestNode {
  const engine = createEngine(t, options);
  const node = engine.open();
  const abort = new AbortController();
  const sweeping = runRetention(node.engine, node.vault, abort.signal);
  t.teardown(async () => {
    abort.abort();
    await sweeping;
  });
  return { ...engine, ...node };
}

test("retention - what is older than the age goes without being asked, in whole segments", async (t) => {
  const vault = createSweeping(t, { defaults: { segmentBytes: 64 * 1024, retentionAgeMs: 10 * minuteMs } });
  for (let i = 0; i < 30; i++) {
    await publish(vault.vault, "s", someRecords(5, 2000, i * 5));
    await vault.clock.advance(minuteMs);
  }
  const records = await readRecords(vault.vault, "s");
  const oldest = Number(records[0]!.timestamp!.seconds) * 1000;
  t.true(oldest < vault.clock.now() - 10 * minuteMs + minuteMs, "nothing younger than the age went");
  t.true(oldest > vault.clock.now() - 18 * minuteMs, "what is much older went");
  t.is(records.at(-1)!.offset, 149n);
  t.deepEqual(await findingsOf(vault, "s"), []);
});

test("retention - what is beyond the bytes goes, and never less is kept", async (t) => {
  const vault = createSweeping(t, { defaults: { segmentBytes: 64 * 1024, retentionBytes: 200_000 } });
  for (let i = 0; i < 80; i++) {
    await publish(vault.vault, "s", someRecords(5, 2000, i * 5));
    await vault.clock.advance(1000);
  }
  await vault.clock.advance(10_000);
  const { storedBytes, segmentCount } = await vault.vault.getStream("s");
  t.true(storedBytes >= 200_000, `${storedBytes} bytes`);
  t.true(storedBytes <= 200_000 + 2 * 80_000, `${storedBytes} bytes`);
  t.true(segmentCount <= 5);
  t.is((await readRecords(vault.vault, "s")).at(-1)!.offset, 399n);
});

test("retention - the open segment's frames stay, however old", async (t) => {
  const defaults = { retentionAgeMs: minuteMs, retentionBytes: 1, segmentAgeMs: 1000 * minuteMs };
  const vault = createSweeping(t, { defaults });
  await publish(vault.vault, "s", ["a"]);
  await vault.clock.advance(100 * minuteMs);
  t.deepEqual(await readValues(vault.vault, "s"), ["a"]);
});

test("retention - a quiet stream's segment is closed when it is old, and goes then", async (t) => {
  const defaults = { retentionAgeMs: 10 * minuteMs, segmentAgeMs: 5 * minuteMs };
  const vault = createSweeping(t, { defaults });
  const producer = { id: "p", sequence: 1n };
  await publish(vault.vault, "s", ["a"], { producer });
  await vault.clock.advance(8 * minuteMs);
  t.deepEqual(await readValues(vault.vault, "s"), ["a"]);
  await vault.clock.advance(4 * minuteMs);
  t.like(await vault.vault.getStream("s"), { firstOffset: 1n, nextOffset: 1n, segmentCount: 1, storedBytes: 0 });
  t.like(await publish(vault.open().vault, "s", ["a"], { producer }), { firstOffset: 0n, duplicate: true });
});

test("retention - without limits nothing is touched", async (t) => {
  const vault = createSweeping(t, { defaults: { segmentBytes: 64 * 1024, segmentAgeMs: minuteMs } });
  for (let i = 0; i < 20; i++) await publish(vault.vault, "s", someRecords(5, 2000, i * 5));
  await vault.clock.advance(1000 * minuteMs);
  t.is((await readRecords(vault.vault, "s")).length, 100);
});

test("retention - a stream that is damaged does not keep the others from being swept", async (t) => {
  const defaults = { segmentBytes: 64 * 1024, retentionBytes: 1 };
  const vault = createSweeping(t, { defaults });
  for (const stream of ["a", "b", "c"]) {
    for (let i = 0; i < 20; i++) await publish(vault.vault, stream, someRecords(5, 2000, i * 5));
  }
  await vault.memory.put("streams/b/stream.json", Buffer.from("no JSON"), "always");
  await vault.clock.advance(30_000);
  for (const stream of ["a", "c"]) t.is((await vault.vault.getStream(stream)).segmentCount, 2, stream);
});

test("retention - what a deletion left behind goes", async (t) => {
  const vault = createSweeping(t, { defaults: { segmentBytes: 64 * 1024 } });
  for (let i = 0; i < 20; i++) await publish(vault.vault, "s", someRecords(5, 2000, i * 5));
  await publish(vault.vault, "kept", ["a"]);
  await vault.vault.use("s", (stream) => stream.committer.exclusively(async () => (await stream.openLog()).seal(true)));
  await vault.vault.close();
  await vault.memory.remove("streams/s/stream.json");
  await vault.clock.advance(30_000);
  const names = (await vault.memory.list("streams/", 100)).items.map((item) => item.name);
  t.true(names.every((name) => name.startsWith("streams/kept/")));
});

test("retention - a name that was reserved for a stream that nobody made is free again", async (t) => {
  const vault = createSweeping(t, {});
  await publish(vault.vault, "kept", ["a"]);
  let reserved: (() => Promise<unknown>) | undefined;
  vault.faulty.set("put", (forward) => {
    reserved ??= forward;
    return forward();
  });
  await publish(vault.vault, "s", ["a"]);
  await vault.vault.deleteStream("s", undefined);
  await reserved!();
  t.deepEqual((await vault.vault.listStreams("", 10)).names, ["kept", "s"]);
  await vault.clock.advance(10_000);
  t.deepEqual((await vault.vault.listStreams("", 10)).names, ["kept"]);
  t.deepEqual(await readValues(vault.vault, "kept"), ["a"]);
});

test("retention - segments whose stream.json was lost are kept", async (t) => {
  const vault = createSweeping(t, { defaults: { segmentBytes: 64 * 1024 } });
  for (let i = 0; i < 20; i++) await publish(vault.vault, "s", someRecords(5, 2000, i * 5));
  await vault.vault.close();
  const before = (await vault.memory.list("streams/s/", 100)).items.map((item) => item.name);
  await vault.memory.remove("streams/s/stream.json");
  await vault.clock.advance(30_000);
  const after = (await vault.memory.list("streams/s/", 100)).items.map((item) => item.name);
  t.deepEqual(
    after,
    before.filter((name) => !name.endsWith("stream.json")),
  );
});

test("retention - what a leader that was deposed has changed without knowing it - holds after the next sweep", async (t) => {
  const engine = createEngine(t, { defaults: { segmentBytes: 64 * 1024 } });
  const deposed = engine.open().vault;
  await publish(deposed, "s", ["a"]);
  const leader = engine.open();
  await publish(leader.vault, "s", ["b"]);
  const abort = new AbortController();
  const sweeping = runRetention(leader.engine, leader.vault, abort.signal);
  // It learns of it when the change is stored already.
  await t.throwsAsync(deposed.updateStream("s", { segmentBytes: 128 * 1024 }));
  t.is((await leader.vault.getStream("s")).settings.segmentBytes, 64 * 1024);
  await engine.clock.advance(20_000);
  t.is((await leader.vault.getStream("s")).settings.segmentBytes, 128 * 1024);
  abort.abort();
  await sweeping;
});
