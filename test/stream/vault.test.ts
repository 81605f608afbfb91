import test from "ava";
import { VaultError } from "../../src/errors.ts";
import { someRecords } from "../support/build-commit.ts";
import { createEngine } from "../support/create-engine.ts";
import { drive } from "../support/drive.ts";
import { publish } from "../support/publish-records.ts";
import { readValues } from "../support/read-records.ts";
import { createHeldCall, loseAnswer, loseRequest, script } from "../support/storage-faults.ts";

test("streams - one is made once, with its settings, and told as it is", async (t) => {
  const { open, clock } = createEngine(t);
  const { vault } = open();
  const made = await vault.createStream("s", { retentionAgeMs: 5000 });
  t.like(made, { name: "s", createdAt: clock.now(), firstOffset: 0n, nextOffset: 0n, segmentCount: 1, storedBytes: 0 });
  t.like(made.settings, { retentionAgeMs: 5000, producerWindowMs: 86_400_000 });
  t.is(made.firstTimestamp, undefined);
  t.is(made.lastTimestamp, undefined);
  t.like(await t.throwsAsync(vault.createStream("s", {})), { kind: "alreadyExists" });
  await clock.advance(1000);
  await publish(vault, "s", ["a"]);
  await clock.advance(1000);
  await publish(vault, "s", ["b"]);
  const told = await open().vault.getStream("s");
  t.like(told, { incarnation: made.incarnation, nextOffset: 2n, lastTimestamp: clock.now() });
  t.is(told.firstTimestamp, clock.now() - 1000);
  t.true(told.storedBytes > 128);
});

test("streams - of those who make one at the same moment one succeeds", async (t) => {
  const { open } = createEngine(t);
  const nodes = [open(), open({ epoch: 1 }), open({ epoch: 1 })];
  const results = await Promise.allSettled(nodes.map(({ vault }) => vault.createStream("s", {})));
  t.is(results.filter((result) => result.status === "fulfilled").length, 1);
  for (const result of results) if (result.status === "rejected") t.like(result.reason, { kind: "alreadyExists" });
});

test("streams - one whose making was not answered and that others deleted meanwhile is made as another", async (t) => {
  const { open, faulty } = createEngine(t);
  const { vault } = open();
  const other = open({ epoch: 1 });
  let incarnation: string | undefined;
  faulty.set("put", async (forward, [, , condition]) => {
    if (typeof condition !== "object" || !("ifMatch" in condition!)) return forward();
    faulty.set("put", undefined);
    await forward();
    incarnation = (await publish(other.vault, "s", ["a"])).incarnation;
    await other.vault.deleteStream("s", incarnation);
    throw new VaultError("indeterminate", "the answer was lost");
  });
  const made = await vault.createStream("s", {});
  t.truthy(incarnation);
  t.not(made.incarnation, incarnation);
});

test("streams - a change of settings is kept, and one of them goes back to its default", async (t) => {
  const { open } = createEngine(t);
  const { vault } = open();
  await vault.createStream("s", { retentionAgeMs: 5000, segmentAgeMs: 60_000 });
  const changed = await vault.updateStream("s", { retentionAgeMs: undefined, retentionBytes: 1000 });
  t.like(changed.settings, { retentionAgeMs: 0, retentionBytes: 1000, segmentAgeMs: 60_000 });
  t.deepEqual((await open().vault.getStream("s")).settings, changed.settings);
  t.like(await t.throwsAsync(vault.updateStream("none", {})), { kind: "notFound" });
});

test("streams - changes at the same moment are all kept, though answers are lost", async (t) => {
  const { open, faulty, clock } = createEngine(t);
  const first = open();
  await publish(first.vault, "s", ["a", "b", "c"]);
  script(faulty, "put", [loseAnswer, loseRequest]);
  await drive(
    clock,
    Promise.all([
      first.vault.updateStream("s", { retentionBytes: 1000 }),
      first.vault.updateStream("s", { segmentAgeMs: 60_000 }),
      first.vault.trimStream("s", { offset: 2n }),
      first.vault.updateStream("s", { retentionAgeMs: 5000 }),
    ]),
  );
  for (const { vault } of [first, open()]) {
    const { settings, firstOffset } = await vault.getStream("s");
    t.like(settings, { retentionBytes: 1000, segmentAgeMs: 60_000, retentionAgeMs: 5000 });
    t.is(firstOffset, 2n);
  }
});

test("streams - an answer that comes late does not bring back old settings", async (t) => {
  const { open, faulty, clock } = createEngine(t);
  const { vault } = open();
  await publish(vault, "s", ["a", "b", "c"]);
  const gate = Promise.withResolvers<void>();
  script(faulty, "put", [
    async (forward) => {
      const etag = await forward();
      await gate.promise;
      return etag;
    },
  ]);
  const slow = vault.updateStream("s", { retentionBytes: 1 });
  await clock.settle();
  const later = [vault.trimStream("s", { offset: 2n }), vault.updateStream("s", { retentionBytes: 2 })];
  await clock.settle();
  gate.resolve();
  await Promise.all([slow, ...later]);
  t.like(await vault.getStream("s"), { firstOffset: 2n, settings: { retentionBytes: 2 } });
});

test("streams - names are listed in pages, by prefix", async (t) => {
  const { open } = createEngine(t);
  const { vault } = open();
  for (const name of ["b", "a-1", "a", "a.b", "A"]) await publish(vault, name, ["x"]);
  const names: string[] = [];
  let from: string | undefined;
  do {
    const page = await vault.listStreams("", 2, from);
    names.push(...page.names);
    from = page.next;
  } while (from !== undefined);
  t.deepEqual(names.toSorted(), ["A", "a", "a-1", "a.b", "b"]);
  t.deepEqual((await vault.listStreams("a", 10)).names.toSorted(), ["a", "a-1", "a.b"]);
});

test("read access - the segments that hold a range are named, with their bounds", async (t) => {
  const { open, memory } = createEngine(t, { defaults: { segmentBytes: 64 * 1024 } });
  const { vault } = open();
  for (let i = 0; i < 20; i++) await publish(vault, "s", someRecords(5, 2000, i * 5));
  const { segments } = await vault.readAccess("s", 0n, 0n);
  t.true(segments.length > 2);
  t.is(segments[0]!.firstOffset, 0n);
  t.is(segments.at(-1)!.nextOffset, 100n);
  for (const [i, segment] of segments.entries()) {
    const following = segments[i + 1];
    if (following !== undefined) t.is(segment.nextOffset, following.firstOffset);
    t.is(segment.sealed, following !== undefined);
    const { bytes } = await memory.read(segment.blob, segment.endPosition, 8192);
    t.true(bytes.every((byte) => byte === 0));
  }
  const one = segments[1]!;
  t.deepEqual((await vault.readAccess("s", one.firstOffset, one.nextOffset)).segments, [one]);
  t.deepEqual((await vault.readAccess("s", 100n, 0n)).segments, []);
});

test("shutting down - what is pending is stored and answered, what comes then is not", async (t) => {
  const { open, faulty, clock } = createEngine(t);
  const { vault } = open();
  await publish(vault, "s", ["a"]);
  const held = createHeldCall();
  faulty.set("writePages", held.fault);
  const pending = ["b", "c"].map((value) => publish(vault, "s", [value]));
  await clock.settle();
  pending.push(publish(vault, "s", ["d"]));
  await clock.settle();
  const closing = vault.close();
  await clock.settle();
  t.like(await t.throwsAsync(publish(vault, "s", ["x"])), { kind: "unavailable" });
  held.release();
  const results = await Promise.all(pending);
  await closing;
  t.deepEqual(
    results.map((result) => result.firstOffset),
    [1n, 2n, 3n],
  );
  t.deepEqual(await readValues(open().vault, "s"), ["a", "b", "c", "d"]);
});

test("shutting down - a stream that was closed cleanly is opened from its checkpoint", async (t) => {
  const { open, faulty } = createEngine(t);
  const { vault } = open();
  for (let i = 0; i < 20; i++) await publish(vault, "s", someRecords(10, 9000, i));
  await vault.close();
  let readBytes = 0;
  faulty.set("read", (forward, args) => {
    if ((args[1] as number) < 1_000_000) readBytes += args[2] as number;
    return forward();
  });
  t.is((await open().vault.getStream("s")).nextOffset, 200n);
  t.true(readBytes < 1_000_000, `${readBytes} bytes were read`);
});
