import test from "ava";
import type { MergedRecord, MergedSubscription } from "../../src/client.ts";
import { systemClock } from "../../src/clock.ts";
import { createClient } from "../support/create-client.ts";
import { createVault } from "../support/create-vault.ts";

async function collect(merged: MergedSubscription): Promise<MergedRecord[]> {
  const records: MergedRecord[] = [];
  for await (const record of merged) records.push(record);
  return records;
}

/** Where the order is broken first; undefined where it is not. */
function findDisorder(records: readonly MergedRecord[]): string | undefined {
  for (let i = 1; i < records.length; i++) {
    const [before, next] = [records[i - 1]!, records[i]!];
    const byTime = next.record.timestamp - before.record.timestamp;
    if (byTime < 0 || (byTime === 0 && next.stream < before.stream)) return `${next.stream} ${next.record.offset}`;
  }
  return undefined;
}

test("subscribe merged - replays several streams in one order of time, and resumes by its cursor", async (t) => {
  const client = createClient(t, await createVault(t));
  const streams = ["a", "b", "c"];
  const publishers = streams.map((stream) => client.publisher(stream, { batchRecords: 3 }));
  for (let i = 0; i < 300; i++) {
    await publishers[i % 3]!.add({ value: `${i}` });
    if (i % 30 === 0) await Promise.all(publishers.map((publisher) => publisher.flush()));
  }
  await Promise.all(publishers.map((publisher) => publisher.close()));
  const range = { start: { at: "earliest" }, end: { at: "tail" } } as const;
  const all = await collect(client.subscribeMerged(streams, range));
  t.is(all.length, 300);
  t.is(findDisorder(all), undefined);

  const first: MergedRecord[] = [];
  const merged = client.subscribeMerged(streams, range);
  for await (const record of merged) {
    first.push(record);
    if (first.length === 100) break;
  }
  const rest = await collect(client.subscribeMerged(streams, { ...range, cursor: merged.cursor }));
  const names = (records: readonly MergedRecord[]) => records.map(({ stream, record }) => `${stream} ${record.offset}`);
  t.deepEqual(names([...first, ...rest]), names(all));
});

test("subscribe merged - live, a record comes although another stream is silent", async (t) => {
  const client = createClient(t, await createVault(t, { renewMs: 100 }));
  await client.createStream("silent");
  await client.publish("busy", [{ value: "one" }]);
  const startedAt = systemClock.monotonic();
  const merged = client.subscribeMerged(["busy", "silent"], { start: { at: "earliest" }, heartbeatMs: 100 });
  for await (const { stream, record } of merged) {
    t.is(`${stream} ${record.text()}`, "busy one");
    t.true(merged.completeUntil >= record.timestamp);
    break;
  }
  t.log(`${Math.round(systemClock.monotonic() - startedAt)} ms`);
});

test("subscribe merged - a stream that is far ahead does not keep the others from coming", async (t) => {
  const client = createClient(t, await createVault(t));
  // Far more than the transport takes in for a stream that nobody reads.
  const value = Buffer.alloc(256 * 1024);
  const late = client.publisher("late", { lingerMs: 60_000 });
  await client.publish("early", [{ value: "first" }]);
  for (let i = 0; i < 100; i++) await late.add({ value });
  await late.close();
  for (let i = 0; i < 100; i++) await client.publish("early", [{ value }]);
  const streams = ["early", "late"];
  const all = await collect(client.subscribeMerged(streams, { start: { at: "earliest" }, end: { at: "tail" } }));
  t.is(all.length, 201);
  t.is(findDisorder(all), undefined);
});

test("subscribe merged - ends without an error when it is aborted", async (t) => {
  const client = createClient(t, await createVault(t));
  await client.createStream("s");
  const abort = new AbortController();
  const reading = collect(client.subscribeMerged(["s"], { signal: abort.signal }));
  setImmediate(() => abort.abort());
  t.deepEqual(await reading, []);
});
