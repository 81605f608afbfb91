import test from "ava";
import type { End, Start } from "../../src/stream/commands.ts";
import type { Vault } from "../../src/stream/vault.ts";
import { createRandom } from "../support/create-clock.ts";
import type { TestEngine } from "../support/create-engine.ts";
import { createEngine } from "../support/create-engine.ts";
import { publish } from "../support/publish-records.ts";
import { below } from "../support/random-records.ts";
import { follow, readRecords, readResponses } from "../support/read-records.ts";

interface Stored {
  readonly offset: bigint;
  readonly timestamp: number;
  readonly key: string;
}

/** A stream of many small segments and frames, whose records have keys a, b, c and times that stand still now and then. */
async function fill({ clock }: TestEngine, vault: Vault, seed: number): Promise<Stored[]> {
  const random = createRandom(seed);
  const stored: Stored[] = [];
  for (let batch = 0; batch < 60; batch++) {
    const keys = Array.from({ length: 1 + below(random, 8) }, () => "abc"[below(random, 3)]!);
    const records = keys.map((key) => ({ key: Buffer.from(key + batch), value: Buffer.alloc(below(random, 3000), 7) }));
    const { firstOffset, timestamp } = await publish(vault, "s", records);
    for (const [i, key] of keys.entries())
      stored.push({ offset: firstOffset + BigInt(i), timestamp, key: key + batch });
    if (random() < 0.7) await clock.advance(below(random, 3) * 100);
  }
  return stored;
}

const options = {
  defaults: { segmentBytes: 64 * 1024 },
  settings: { frameBytes: 4096, responseBytes: 8192 },
  blockBytes: 16 * 1024,
};

for (const [where, tailBytes] of [
  ["the tail cache", 16 * 1024 * 1024],
  ["storage", 1],
  ["both", 60_000],
] as const) {
  test(`subscribe - every start and end gives what picking by hand gives, from ${where}`, async (t) => {
    const engine = createEngine(t, { ...options, tailBytes });
    const { vault } = engine.open();
    const stored = await fill(engine, vault, 1);
    await vault.trimStream("s", { offset: 7n });
    const kept = stored.filter((record) => record.offset >= 7n);
    t.true((await vault.getStream("s")).segmentCount > 3);
    const random = createRandom(2);
    const times = [...new Set(stored.map((record) => record.timestamp))];
    const pickTime = () => times[below(random, times.length)]! + below(random, 3) - 1;
    const next = stored.at(-1)!.offset + 1n;
    for (let round = 0; round < 150; round++) {
      const starts: Start[] = [
        { at: "earliest" },
        { at: "offset", offset: 7n + BigInt(below(random, Number(next) - 6)) },
        { at: "timestamp", timestamp: pickTime() },
        { at: "last", count: BigInt(below(random, Number(next) + 9)) },
        { at: "latest" },
      ];
      const ends: End[] = [
        { at: "tail" },
        { at: "offset", offset: BigInt(below(random, Number(next) + 1)) },
        { at: "timestamp", timestamp: pickTime() },
        { at: "count", count: BigInt(below(random, 20)) },
      ];
      const start = starts[below(random, starts.length)]!;
      const keyPrefix = random() < 0.5 ? "" : "abc"[below(random, 3)]!;
      let end = ends[below(random, ends.length)]!;
      const picked = pick(kept, next, start, end, keyPrefix);
      // A count that is not reached would follow for ever.
      if (end.at === "count" && picked.length < Number(end.count)) end = { at: "tail" };
      const expected = pick(kept, next, start, end, keyPrefix);
      const records = await readRecords(vault, "s", { start, end, keyPrefix: Buffer.from(keyPrefix) });
      const what = JSON.stringify({ start, end, keyPrefix }, (_, value) =>
        typeof value === "bigint" ? `${value}` : value,
      );
      t.deepEqual(
        records.map((record) => [record.offset, Buffer.from(record.key).toString()]),
        expected.map((record) => [record.offset, record.key]),
        what,
      );
    }
  });
}

function pick(kept: readonly Stored[], next: bigint, start: Start, end: End, keyPrefix: string): Stored[] {
  const from = {
    earliest: () => true,
    latest: () => false,
    offset: (record: Stored) => start.at === "offset" && record.offset >= start.offset,
    timestamp: (record: Stored) => start.at === "timestamp" && record.timestamp >= start.timestamp,
    last: (record: Stored) => start.at === "last" && record.offset >= next - start.count,
  }[start.at];
  const until = (record: Stored) =>
    (end.at === "offset" && record.offset >= end.offset) ||
    (end.at === "timestamp" && record.timestamp >= end.timestamp);
  const started = kept.filter(from);
  const stop = started.findIndex(until);
  const matching = (stop < 0 ? started : started.slice(0, stop)).filter((record) => record.key.startsWith(keyPrefix));
  return end.at === "count" ? matching.slice(0, Number(end.count)) : matching;
}

test("subscribe - a start before the trimmed start or beyond the tail is out of range, and tells the bounds", async (t) => {
  const { open } = createEngine(t);
  const { vault } = open();
  await publish(vault, "s", ["a", "b", "c"]);
  await vault.trimStream("s", { offset: 1n });
  for (const offset of [0n, 4n, 2n ** 63n]) {
    const error = await t.throwsAsync(readRecords(vault, "s", { start: { at: "offset", offset } }));
    t.like(error, { kind: "outOfRange", detail: { found: { first_offset: "1", next_offset: "3" } } });
  }
  t.is((await readRecords(vault, "s", { start: { at: "offset", offset: 3n } })).length, 0);
  t.like(await t.throwsAsync(readRecords(vault, "none")), { kind: "notFound" });
});

test("subscribe - another incarnation than the stream's is refused", async (t) => {
  const { open } = createEngine(t);
  const { vault } = open();
  const { incarnation } = await publish(vault, "s", ["a"]);
  t.is((await readRecords(vault, "s", { incarnation })).length, 1);
  const error = await t.throwsAsync(readRecords(vault, "s", { incarnation: "0".repeat(32) }));
  t.like(error, { kind: "conflict", detail: { condition: "incarnation" } });
});

test("subscribe - responses say where to resume, and lag, and stay under the limit", async (t) => {
  const engine = createEngine(t, options);
  const { vault } = engine.open();
  const stored = await fill(engine, vault, 3);
  const big = { key: Buffer.from("big"), value: Buffer.alloc(1_000_000, 1) };
  await publish(vault, "s", [big, big, big]);
  const tail = BigInt(stored.length + 3);
  const responses = await readResponses(vault, "s");
  let next = 0n;
  for (const response of responses) {
    const bytes = response.records.reduce((sum, record) => sum + record.value.length, 0);
    t.true(bytes < 2.2 * 1024 * 1024);
    t.is(response.records[0]?.offset, next);
    next += BigInt(response.records.length);
    t.is(response.nextOffset, next);
    t.is(response.tailOffset, tail);
    t.is(response.caughtUp, next === tail);
    t.true(response.tailTimestamp !== undefined);
  }
  t.is(next, tail);
  t.truthy(responses[0]!.incarnation);
  t.is(responses[1]!.incarnation, "");
});

test("subscribe - resuming at any response's next offset goes on without gap or duplicate", async (t) => {
  const engine = createEngine(t, { ...options, tailBytes: 30_000 });
  const { vault } = engine.open();
  await fill(engine, vault, 4);
  for (const keyPrefix of ["", "b"]) {
    const whole = await readResponses(vault, "s", { keyPrefix: Buffer.from(keyPrefix) });
    const all = whole.flatMap((response) => response.records.map((record) => record.offset));
    for (const [i, response] of whole.entries()) {
      const before = whole.slice(0, i + 1).flatMap((earlier) => earlier.records.map((record) => record.offset));
      const start = { at: "offset", offset: response.nextOffset } as const;
      const rest = await readRecords(vault, "s", { start, keyPrefix: Buffer.from(keyPrefix) });
      t.deepEqual([...before, ...rest.map((record) => record.offset)], all);
    }
  }
});

test("subscribe - an empty stream is caught up at once and has no time", async (t) => {
  const { open } = createEngine(t);
  const { vault } = open();
  await vault.createStream("s", {});
  const [first] = await readResponses(vault, "s", { end: { at: "count", count: 0n } });
  t.like(first, { nextOffset: 0n, tailOffset: 0n, tailTimestamp: undefined, caughtUp: true });
  const responses = follow(vault, "s");
  t.like((await responses.next()).value, { caughtUp: true });
  const waiting = responses.next();
  await publish(vault, "s", ["a"]);
  t.is((await waiting).value!.records.length, 1);
  await responses.return(undefined);
});
