/** Real events in, the same events out: record by record, from every kind of start. */
import test from "ava";
import type { ExecutionContext } from "ava";
import type { SubscribeOptions, VaultClient } from "../../src/client.ts";
import { createClient } from "../support/create-client.ts";
import { createDirectory } from "../support/create-directory.ts";
import { createVault } from "../support/create-vault.ts";
import { readRealEvents } from "../support/real-events.ts";
import { findGap, readStream } from "../support/read-stream.ts";
import { verifyStorage } from "../support/verify-storage.ts";
import { waitUntil } from "../support/wait-until.ts";

interface Event {
  readonly stream: string;
  readonly line: string;
}

function toEvents(lines: readonly string[]): Event[] {
  return lines.map((line) => ({ stream: (JSON.parse(line) as { stream: string }).stream, line }));
}

/** What every stream must hold. */
function groupByStream(events: readonly Event[]): Map<string, string[]> {
  const expected = new Map<string, string[]>();
  for (const { stream, line } of events) {
    const lines = expected.get(stream);
    if (lines === undefined) expected.set(stream, [line]);
    else lines.push(line);
  }
  return expected;
}

/** The first half of each stream's events, and the second. */
function halve(events: readonly Event[], expected: ReadonlyMap<string, readonly string[]>): [Event[], Event[]] {
  const seen = new Map<string, number>();
  const halves: [Event[], Event[]] = [[], []];
  for (const event of events) {
    const at = seen.get(event.stream) ?? 0;
    seen.set(event.stream, at + 1);
    halves[at < middleOf(expected.get(event.stream)!) ? 0 : 1].push(event);
  }
  return halves;
}

function middleOf(lines: readonly string[]): number {
  return Math.floor(lines.length / 2);
}

/** Publishes all events over one pipeline, each to its stream, and waits for the acknowledgements. */
async function publishEvents(client: VaultClient, events: readonly Event[]): Promise<void> {
  const pipeline = client.pipeline();
  const publishers = new Map(
    [...new Set(events.map(({ stream }) => stream))].map((stream) => [
      stream,
      client.publisherOn(pipeline, stream, { batchRecords: 500 }),
    ]),
  );
  for (const { stream, line } of events) await publishers.get(stream)!.add({ key: stream, value: line });
  for (const publisher of publishers.values()) await publisher.close();
  await pipeline.close();
}

async function compare(
  t: ExecutionContext,
  client: VaultClient,
  stream: string,
  expected: readonly string[],
  first: bigint,
  start: NonNullable<SubscribeOptions["start"]>,
): Promise<void> {
  const records = await readStream(client, stream, { start });
  t.is(findGap(records, first), undefined, `${stream} from ${start.at}`);
  t.is(records.length, expected.length, `${stream} from ${start.at}`);
  const wrong = records.findIndex(({ value }, at) => Buffer.from(value).toString() !== expected[at]);
  t.is(wrong, -1, `${stream} from ${start.at}: ${first + BigInt(wrong)} is another record`);
}

test("real events - are replayed record by record from the start, the middle, and a time between two publishes", async (t) => {
  const lines = readRealEvents(t);
  if (lines === undefined) return;
  t.timeout(120_000);
  const directory = await createDirectory(t);
  const storage = `file:${directory}/data`;
  // Small segments, so that replay crosses many of them.
  const vault = await createVault(t, { storage, segmentBytes: 1024 ** 2, tailCacheBytes: 1024 ** 2 });
  const client = createClient(t, vault);
  const events = toEvents(lines);
  const expected = groupByStream(events);
  const [firstHalf, secondHalf] = halve(events, expected);

  await publishEvents(client, firstHalf);
  const between = Date.now() + 1;
  await waitUntil(() => Date.now() > between, "the clock has moved on");
  await publishEvents(client, secondHalf);

  t.deepEqual((await client.listStreams()).names, [...expected.keys()].toSorted());
  for (const [stream, lines] of expected) {
    await compare(t, client, stream, lines, 0n, { at: "earliest" });
    const place = middleOf(lines) + 1;
    await compare(t, client, stream, lines.slice(place), BigInt(place), { at: "offset", offset: BigInt(place) });
    const middle = middleOf(lines);
    const after = { at: "timestamp", timestamp: between } as const;
    await compare(t, client, stream, lines.slice(middle), BigInt(middle), after);
  }
  await vault.close();
  const report = await verifyStorage(storage);
  t.deepEqual(report.findings, []);
  t.is(report.records, BigInt(events.length));
  t.log(`${events.length} events in ${expected.size} streams and ${report.segments} segments`);
});
