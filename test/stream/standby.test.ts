import test from "ava";
import type { SubscribeResponse } from "../../gen/messagevault/v1/vault_pb.ts";
import type { Vault } from "../../src/stream/vault.ts";
import { someRecords } from "../support/build-commit.ts";
import { createNodes } from "../support/create-nodes.ts";
import { drive } from "../support/drive.ts";
import { publish } from "../support/publish-records.ts";
import { follow, readRecords, type ReadOptions, readValues } from "../support/read-records.ts";
import { createHeldCall } from "../support/storage-faults.ts";

/** What a subscription got so far, and how it ended. */
interface Reading {
  readonly responses: SubscribeResponse[];
  readonly offsets: bigint[];
  readonly done: Promise<unknown>;
  abort(): void;
}

function read(vault: Vault, options: ReadOptions = {}): Reading {
  const abort = new AbortController();
  const responses: SubscribeResponse[] = [];
  const offsets: bigint[] = [];
  const done = (async () => {
    try {
      for await (const response of follow(vault, "s", options, abort.signal)) {
        responses.push(response);
        offsets.push(...response.records.map((record) => record.offset));
      }
      return undefined;
    } catch (error) {
      return error;
    }
  })();
  return { responses, offsets, done, abort: () => abort.abort() };
}

function range(from: bigint, to: bigint): bigint[] {
  return Array.from({ length: Number(to - from) }, (_, i) => from + BigInt(i));
}

test("standby - what the leader stores is read at once, and what idles costs no request", async (t) => {
  const { nodes, lead, clock } = createNodes(t, 2);
  const [leader, standby] = [nodes[0]!, nodes[1]!];
  lead(leader);
  await publish(leader.vault, "s", ["a"]);
  const reading = read(standby.vault, { heartbeatMs: 5000 });
  await clock.settle();
  t.deepEqual(reading.offsets, [0n]);
  const opened = standby.requests;
  await clock.advance(60_000);
  t.is(standby.requests, opened);
  for (let i = 1; i < 20; i++) {
    await publish(leader.vault, "s", someRecords(2, 500, i));
    await clock.settle();
    t.is(reading.offsets.length, 1 + 2 * i);
  }
  const before = standby.requests;
  await clock.advance(60_000);
  t.is(standby.requests, before);
  t.like(reading.responses.at(-1), { records: [], caughtUp: true, tailOffset: 39n });
  reading.abort();
  t.is(await reading.done, undefined);
  t.deepEqual(reading.offsets, range(0n, 39n));
  await clock.settle();
  t.is(clock.timers, 0, "what nobody reads is not followed");
});

test("standby - a commit costs one request, however many read", async (t) => {
  const { nodes, lead, clock } = createNodes(t, 2);
  const [leader, standby] = [nodes[0]!, nodes[1]!];
  lead(leader);
  await publish(leader.vault, "s", ["a"]);
  const readings = Array.from({ length: 20 }, () => read(standby.vault));
  await clock.settle();
  const before = standby.requests;
  for (let i = 0; i < 10; i++) {
    await publish(leader.vault, "s", someRecords(3, 1000, i));
    await clock.settle();
  }
  for (const { offsets } of readings) t.deepEqual(offsets, range(0n, 31n));
  t.is(standby.requests - before, 10);
  for (const reading of readings) reading.abort();
  await Promise.all(readings.map((reading) => reading.done));
});

test("standby - while nobody tells of commits they are looked for", async (t) => {
  const { nodes, lead, clock } = createNodes(t, 2);
  const [leader, standby] = [nodes[0]!, nodes[1]!];
  lead(leader, false);
  await publish(leader.vault, "s", ["a"]);
  const reading = read(standby.vault);
  await clock.settle();
  for (let i = 1; i < 5; i++) {
    await publish(leader.vault, "s", ["b"]);
    await clock.advance(1300);
    t.deepEqual(reading.offsets, range(0n, BigInt(i + 1)));
  }
  const before = standby.requests;
  await clock.advance(100_000);
  const looks = standby.requests - before;
  // Each looks at the stream's metadata and at its end.
  t.true(looks >= 160 && looks <= 268, `${looks} requests`);
  reading.abort();
  await reading.done;
});

test("standby - what was stored before the leader was heard of is not missed", async (t) => {
  const { nodes, lead, feed, clock } = createNodes(t, 2, { settings: { followPollMs: 1_000_000 } });
  const [leader, standby] = [nodes[0]!, nodes[1]!];
  lead(leader, false);
  await publish(leader.vault, "s", ["a"]);
  const reading = read(standby.vault);
  await clock.settle();
  await publish(leader.vault, "s", ["b"]);
  await clock.settle();
  t.deepEqual(reading.offsets, [0n]);
  feed();
  await clock.settle();
  t.deepEqual(reading.offsets, [0n, 1n]);
  reading.abort();
  await reading.done;
});

test("standby - a commit that is told of while its stream is being opened is not missed", async (t) => {
  const { nodes, lead, clock } = createNodes(t, 2);
  const [standby, leader] = [nodes[0]!, nodes[1]!];
  lead(standby);
  await publish(standby.vault, "s", ["a"]);
  const reading = read(standby.vault);
  await clock.settle();
  t.deepEqual(reading.offsets, [0n]);
  const held = createHeldCall();
  let holding = true;
  // The answer is on its way while the next commit comes.
  standby.faulty.set("read", async (forward) => {
    const answer = await forward();
    if (holding) await held.fault(async () => undefined, []);
    return answer;
  });
  lead(leader);
  await clock.settle();
  t.true(held.waiting);
  await publish(leader.vault, "s", ["b"]);
  await clock.settle();
  holding = false;
  held.release();
  for (let turns = 0; turns < 5; turns++) await clock.settle();
  t.deepEqual(reading.offsets, [0n, 1n]);
  reading.abort();
  await reading.done;
});

test("standby - a trim that leaves the segment is told", async (t) => {
  const { nodes, lead, clock } = createNodes(t, 2);
  const [leader, standby] = [nodes[0]!, nodes[1]!];
  lead(leader);
  await publish(leader.vault, "s", ["a", "b", "c"]);
  const reading = read(standby.vault);
  await clock.settle();
  await leader.vault.trimStream("s", { offset: 2n });
  await clock.settle();
  t.deepEqual(await readValues(standby.vault, "s", { end: { at: "count", count: 1n } }), ["c"]);
  const start = { at: "offset", offset: 1n } as const;
  t.like(await t.throwsAsync(readValues(standby.vault, "s", { start })), { kind: "outOfRange" });
  reading.abort();
  await reading.done;
});

for (const fed of [true, false]) {
  const how = fed ? "by the leader's word" : "without it";
  test(`standby - rolls are followed, ${how}`, async (t) => {
    const options = { defaults: { segmentBytes: 64 * 1024 }, settings: { frameBytes: 4096 }, tailBytes: 20_000 };
    const { nodes, lead, clock } = createNodes(t, 2, { ...options, blockBytes: 16 * 1024 });
    const [leader, standby] = [nodes[0]!, nodes[1]!];
    lead(leader, fed);
    await publish(leader.vault, "s", ["a"]);
    const reading = read(standby.vault);
    for (let i = 0; i < 60; i++) {
      await publish(leader.vault, "s", someRecords(3, 1500, i));
      if (i % 3 === 0) await clock.advance(fed ? 0 : 1300);
    }
    await clock.advance(2000);
    await clock.settle();
    t.deepEqual(reading.offsets, range(0n, 181n));
    t.true((await leader.vault.getStream("s")).segmentCount > 3);
    t.is((await readRecords(standby.vault, "s")).length, 181, "a late reader sees the same");
    reading.abort();
    await reading.done;
  });

  test(`standby - a trim is noticed, ${how}`, async (t) => {
    const options = { defaults: { segmentBytes: 64 * 1024 }, tailBytes: 1, readCacheBytes: 1 };
    const { nodes, lead, clock } = createNodes(t, 2, options);
    const [leader, standby] = [nodes[0]!, nodes[1]!];
    lead(leader, fed);
    for (let i = 0; i < 20; i++) await publish(leader.vault, "s", someRecords(5, 4000, i));
    const tailing = read(standby.vault, { start: { at: "latest" } });
    const early = follow(standby.vault, "s", {});
    t.is((await early.next()).value!.nextOffset > 0n, true);
    await leader.vault.trimStream("s", { offset: 90n });
    await clock.advance(2000);
    t.like(await t.throwsAsync(Array.fromAsync(early)), {
      kind: "outOfRange",
      detail: { found: { first_offset: "90" } },
    });
    const behind = readRecords(standby.vault, "s", { start: { at: "offset", offset: 89n } });
    t.like(await t.throwsAsync(behind), { kind: "outOfRange" });
    t.is((await readRecords(standby.vault, "s"))[0]?.offset, 90n);
    await publish(leader.vault, "s", ["end"]);
    await clock.advance(2000);
    t.deepEqual(tailing.offsets, [100n]);
    tailing.abort();
    await tailing.done;
  });

  test(`standby - a deletion ends subscriptions, and what is made anew is another stream, ${how}`, async (t) => {
    for (const again of [false, true]) {
      const { nodes, lead, clock } = createNodes(t, 2);
      const [leader, standby] = [nodes[0]!, nodes[1]!];
      lead(leader, fed);
      await publish(leader.vault, "s", ["a"]);
      const reading = read(standby.vault);
      await clock.settle();
      await leader.vault.deleteStream("s", undefined);
      if (again) await publish(leader.vault, "s", ["b", "c"]);
      t.like(await drive(clock, reading.done), { kind: "notFound" });
      t.deepEqual(reading.offsets, [0n]);
      if (again) t.deepEqual(await readValues(standby.vault, "s"), ["b", "c"]);
      else t.like(await t.throwsAsync(readValues(standby.vault, "s")), { kind: "notFound" });
    }
  });
}

test("standby - the tail is what is acknowledged, though nobody told of it", async (t) => {
  const { nodes, lead } = createNodes(t, 2, { settings: { followPollMs: 1_000_000 } });
  const [leader, standby] = [nodes[0]!, nodes[1]!];
  lead(leader, false);
  await publish(leader.vault, "s", ["a"]);
  const open = follow(standby.vault, "s");
  await open.next();
  const start = async (options: ReadOptions) => {
    const reader = follow(standby.vault, "s", options);
    const { value } = await reader.next();
    await reader.return(undefined);
    return value!;
  };
  for (let next = 2n; next < 10n; next++) {
    await publish(leader.vault, "s", ["x"]);
    if (next % 4n === 0n) t.like(await start({ start: { at: "latest" } }), { nextOffset: next, caughtUp: true });
    if (next % 4n === 1n) t.is((await start({ start: { at: "last", count: 1n } })).records[0]?.offset, next - 1n);
    if (next % 4n === 2n) t.is((await readRecords(standby.vault, "s")).length, Number(next));
    if (next % 4n === 3n) t.is((await standby.vault.getStream("s")).nextOffset, next);
  }
  await publish(leader.vault, "s", ["x"]);
  t.like(await start({ start: { at: "offset", offset: 10n } }), { nextOffset: 10n, caughtUp: true });
  const beyond = readRecords(standby.vault, "s", { start: { at: "offset", offset: 11n } });
  t.like(await t.throwsAsync(beyond), { kind: "outOfRange", detail: { found: { next_offset: "10" } } });
  await open.return(undefined);
});

test("standby - it describes streams and their segments as the leader does", async (t) => {
  const { nodes, lead } = createNodes(t, 2, { defaults: { segmentBytes: 64 * 1024 } });
  const [leader, standby] = [nodes[0]!, nodes[1]!];
  lead(leader);
  await leader.vault.createStream("s", { retentionBytes: 12_345 });
  t.deepEqual(await standby.vault.getStream("s"), await leader.vault.getStream("s"));
  for (let i = 0; i < 30; i++) await publish(leader.vault, "s", someRecords(3, 3000, i));
  await leader.vault.updateStream("s", { retentionBytes: 54_321 });
  t.deepEqual(await standby.vault.getStream("s"), await leader.vault.getStream("s"));
  for (const [from, to] of [
    [0n, 0n],
    [40n, 60n],
  ] as const) {
    t.deepEqual(await standby.vault.readAccess("s", from, to), await leader.vault.readAccess("s", from, to));
  }
  await leader.vault.trimStream("s", { offset: 80n });
  t.deepEqual(await standby.vault.getStream("s"), await leader.vault.getStream("s"));
  t.like(await t.throwsAsync(standby.vault.getStream("other")), { kind: "notFound" });
});

test("standby - it stores and changes nothing", async (t) => {
  const { nodes, lead } = createNodes(t, 2);
  const [leader, standby] = [nodes[0]!, nodes[1]!];
  lead(leader);
  await publish(leader.vault, "s", ["a"]);
  for (const change of [
    () => publish(standby.vault, "s", ["x"]),
    () => standby.vault.createStream("t", {}),
    () => standby.vault.updateStream("s", { retentionBytes: 1 }),
    () => standby.vault.trimStream("s", { offset: 1n }),
    () => standby.vault.deleteStream("s", undefined),
  ]) {
    t.like(await t.throwsAsync(change()), { kind: "unavailable" });
  }
  t.deepEqual(await readValues(standby.vault, "s"), ["a"]);
});

test("standby - an end by time waits for what may be on its way", async (t) => {
  const { nodes, lead, clock } = createNodes(t, 2, { settings: { followPollMs: 1_000_000 } });
  const [leader, standby] = [nodes[0]!, nodes[1]!];
  lead(leader, false);
  await publish(leader.vault, "s", ["a"]);
  const reading = read(standby.vault, { end: { at: "timestamp", timestamp: clock.now() + 5000 } });
  await clock.advance(4000);
  await publish(leader.vault, "s", ["b"]);
  const held = createHeldCall();
  leader.faulty.set("writePages", held.fault);
  const late = publish(leader.vault, "s", ["c"]);
  await clock.advance(1500);
  held.release();
  await late;
  await clock.advance(1000);
  t.is(await reading.done, undefined);
  t.deepEqual(reading.offsets, [0n, 1n, 2n]);
});

test("standby - while storage fails subscriptions wait, and go on when it is back", async (t) => {
  const { nodes, lead, clock } = createNodes(t, 2);
  const [leader, standby] = [nodes[0]!, nodes[1]!];
  lead(leader);
  await publish(leader.vault, "s", ["a"]);
  const reading = read(standby.vault);
  await clock.settle();
  standby.faulty.set("read", () => Promise.reject(new Error("storage is not reached")));
  await publish(leader.vault, "s", ["b"]);
  await clock.advance(20_000);
  t.deepEqual(reading.offsets, [0n]);
  standby.faulty.set("read", undefined);
  await clock.advance(2000);
  t.deepEqual(reading.offsets, [0n, 1n]);
  const before = standby.requests;
  await clock.advance(60_000);
  t.is(standby.requests, before);
  reading.abort();
  await reading.done;
});
