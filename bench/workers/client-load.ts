/** Publishes and replays with the TypeScript client, as a user's program does: record by record, encoded and decoded. */
import { connect } from "../../src/client.ts";
import type { StreamRecord, Subscription } from "../../src/client.ts";
import { serveCommands } from "../worker-commands.ts";
import { createRandom } from "../statistics.ts";
import type { ReplayResult } from "./consumer.ts";

/** What to publish: to one stream, over one connection. */
export interface ClientPublishArgs {
  readonly endpoint: string;
  readonly stream: string;
  /** Records in a batch, and the bytes of each. */
  readonly batch: number;
  readonly recordBytes: number;
  /** How many batches may be unanswered. */
  readonly window: number;
  readonly seconds: number;
}

/** What was acknowledged. */
export interface ClientPublishResult {
  readonly records: number;
  readonly bytes: number;
  /** From the first record to the last answer. */
  readonly seconds: number;
}

/** What to read. */
export interface ClientReplayArgs {
  readonly endpoint: string;
  readonly stream: string;
  readonly fromOffset: bigint;
  /** How often to read it, one subscription after the other. */
  readonly calls: number;
  /** Whether to take records one by one, or in the batches in which they come. */
  readonly by: "batch" | "record";
}

/** How many values a load publishes in turn: as many bytes as the raw load does. */
const valuesBytes = 16 * 1024 * 1024;

serveCommands({ publish, replay });

async function publish(args: ClientPublishArgs): Promise<ClientPublishResult> {
  const { endpoint, stream, batch, recordBytes, window, seconds } = args;
  const client = connect({ addresses: [endpoint] });
  const options = { batchRecords: batch, inFlightRequestsMax: window };
  const values = makeValues(recordBytes);
  // The first request makes the stream, and the connection.
  await client.publish(stream, [{ value: values[0]! }]);
  const publisher = client.publisher(stream, options);
  const startedAt = performance.now();
  const endsAt = startedAt + seconds * 1000;
  for (let i = 0; ; i++) {
    const room = publisher.add({ value: values[i % values.length]! });
    if (room !== undefined) await room;
    if (i % batch === 0 && performance.now() >= endsAt) break;
  }
  await publisher.flush();
  const took = (performance.now() - startedAt) / 1000;
  const { recordCount, sizeBytes } = publisher.acknowledged;
  await publisher.close();
  client.close();
  return { records: recordCount, bytes: sizeBytes, seconds: took };
}

function makeValues(recordBytes: number): Buffer[] {
  const random = createRandom();
  return Array.from({ length: Math.ceil(valuesBytes / recordBytes) }, () => {
    const value = Buffer.allocUnsafe(recordBytes);
    for (let i = 0; i < recordBytes; i++) value[i] = random() * 256;
    return value;
  });
}

async function replay({ endpoint, stream, fromOffset, calls, by }: ClientReplayArgs): Promise<ReplayResult> {
  const client = connect({ addresses: [endpoint] });
  // The connection is made before the clock starts, as for the raw load.
  await client.getStream(stream);
  const count = { bytes: 0, responses: 0, records: 0 };
  const start = { at: "offset", offset: fromOffset } as const;
  const read = by === "batch" ? readBatches : readRecords;
  const startedAt = performance.now();
  for (let i = 0; i < calls; i++) await read(client.subscribe(stream, { start, end: { at: "tail" } }), count);
  const seconds = (performance.now() - startedAt) / 1000;
  client.close();
  return { ...count, seconds, marksSeconds: [] };
}

interface Count {
  bytes: number;
  responses: number;
  records: number;
}

async function readBatches(subscription: Subscription, count: Count): Promise<void> {
  for await (const delivery of subscription.batches()) {
    count.responses++;
    count.bytes += delivery.bytes.length;
    for (const record of delivery.records) look(record, count);
  }
}

async function readRecords(subscription: Subscription, count: Count): Promise<void> {
  for await (const record of subscription) {
    look(record, count);
    // Its value and what is stored with it: the response itself is not seen here.
    count.bytes += record.value.length + storedBytes;
  }
}

// Offset and timestamp, tags and lengths of a record of 250 bytes.
const storedBytes = 24;

// Reads what a consumer reads of each record.
function look(record: StreamRecord, count: Count): void {
  if (record.value.length === 0 || record.offset < 0n || record.timestamp === 0) throw new Error("no such record");
  count.records++;
}
