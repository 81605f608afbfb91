/**
 * Publishing to one stream, with batches that are collected from single records.
 *
 * Invariants: records are stored in the order in which they were given, whether by `add` or by `publish`; once a batch
 * failed, everything behind it fails as well, and so does every later call.
 */
import type { Clock, Timer } from "../clock.ts";
import { VaultError } from "../errors.ts";
import { BatchBuilder, batchStoredBytesMax, encodeBatch } from "./batch-builder.ts";
import type { EncodedBatch, RecordInput } from "./batch-builder.ts";
import type { Acknowledged } from "./acknowledged.ts";
import type { Pipeline } from "./pipeline.ts";
import type { PublishReceipt } from "./publish-request.ts";

/** How a publisher collects batches. */
export interface PublisherOptions {
  /** A batch is sent once it takes so many bytes on storage: 1 MiB by default, a little less than 4 MiB at most. */
  readonly batchBytes?: number;
  /** A batch is sent once it has so many records: 10,000 by default. */
  readonly batchRecords?: number;
  /** A batch is sent so long after its first record, in milliseconds: 5 by default. */
  readonly lingerMs?: number;
  /** The offset that the first record must get: then nobody else may publish to the stream meanwhile. */
  readonly expectedOffset?: bigint;
  /** The incarnation that the stream must have. */
  readonly incarnation?: string;
}

/** Where a record was stored. */
export interface RecordReceipt {
  readonly offset: bigint;
  /** In milliseconds since 1970. */
  readonly timestamp: number;
  /** True if it had been stored before, by an attempt whose answer was lost. */
  readonly duplicate: boolean;
}

/** Publishes to one stream. */
export interface Publisher {
  readonly stream: string;
  /** Who publishes, as the vault knows it. */
  readonly producerId: string;
  /** What was acknowledged so far, other publishers of the same pipeline included. */
  readonly acknowledged: Acknowledged;
  /**
   * Adds a record to the batch that is being collected. Where it returns a promise, wait for it before you add more.
   * Throws what made an earlier batch fail, `invalid` for a record that is too large, and `overloaded`, without taking
   * the record, where too much waits already.
   */
  add(record: RecordInput): Promise<void> | undefined;
  /**
   * Adds a record and resolves to where it was stored, once it is durable. Rejects with what made its batch fail, or as
   * `add` throws. Costs a promise for each record; wait for `room` now and then.
   */
  send(record: RecordInput): Promise<RecordReceipt>;
  /** Resolves when there is room for more, or nothing more can be published; undefined if that is so now. */
  room(): Promise<void> | undefined;
  /** Adds a record that is a protobuf encoding of Record already. Otherwise as `add`. */
  addEncoded(record: Uint8Array): Promise<void> | undefined;
  /** Publishes a batch of its own, all or nothing, behind what was added before; resolves when it is durable. */
  publish(records: Iterable<RecordInput>): Promise<PublishReceipt>;
  /** As `publish`, with a batch that was encoded before, by `encodeBatch`. */
  publishEncoded(batch: EncodedBatch): Promise<PublishReceipt>;
  /** Resolves when everything given so far is durable. Rejects with what made it fail. */
  flush(): Promise<void>;
  /** Flushes, and gives up the connection where this publisher has one of its own. Nothing may be added after it. */
  close(): Promise<void>;
}

/** Makes a publisher for `stream`. `owned` says that `close` closes the pipeline too. */
export function createPublisher(
  pipeline: Pipeline,
  clock: Clock,
  stream: string,
  options: PublisherOptions,
  owned: boolean,
): Publisher {
  const builder = new BatchBuilder();
  const batchBytes = Math.min(batchStoredBytesMax, options.batchBytes ?? 1024 * 1024);
  const batchRecords = options.batchRecords ?? 10_000;
  const lingerMs = options.lingerMs ?? 5;
  let linger: Timer | undefined;
  let last: Promise<unknown> = Promise.resolve();
  let failure: { readonly error: unknown } | undefined;
  let expectedOffset = options.expectedOffset;
  // What becomes of the batch that is being collected, where somebody asked.
  let collecting: PromiseWithResolvers<PublishReceipt> | undefined;

  function sendBatch(batch: EncodedBatch): Promise<PublishReceipt> {
    const sent = pipeline.enqueue(stream, batch, { expectedOffset, incarnation: options.incarnation });
    if (expectedOffset !== undefined) expectedOffset += BigInt(batch.recordCount);
    // Who calls `flush` or `add` hears of it; nobody may be waiting for this batch itself.
    last = sent.catch((error: unknown) => {
      failure ??= { error };
    });
    return sent;
  }

  function sendCollected(): void {
    linger?.cancel();
    linger = undefined;
    if (builder.recordCount === 0) return;
    const sent = sendBatch(builder.added);
    builder.clear();
    collecting?.resolve(sent);
    collecting = undefined;
  }

  // A batch that nobody can send yet may as well go on collecting.
  function sendWhenIdle(): void {
    linger = undefined;
    const turn = pipeline.turn();
    if (turn === undefined) sendCollected();
    else void turn.then(() => (linger === undefined ? sendCollected() : undefined));
  }

  function collect(addRecord: () => void): void {
    assertRoom();
    try {
      addRecord();
    } catch (error) {
      if (!(error instanceof VaultError) || error.kind !== "overloaded") throw error;
      sendCollected();
      addRecord();
    }
  }

  function sendIfFull(): Promise<void> | undefined {
    if (builder.storedBytes >= batchBytes || builder.recordCount >= batchRecords) {
      sendCollected();
      return pipeline.room();
    }
    linger ??= clock.timer(lingerMs, sendWhenIdle);
    return undefined;
  }

  function assertOpen(): void {
    if (failure !== undefined) throw failure.error;
  }

  function assertRoom(): void {
    assertOpen();
    const refusal = pipeline.refusal();
    if (refusal !== undefined) throw refusal;
  }

  async function publishEncoded(batch: EncodedBatch): Promise<PublishReceipt> {
    assertRoom();
    sendCollected();
    return sendBatch(batch);
  }

  async function sendRecord(record: RecordInput): Promise<RecordReceipt> {
    collect(() => builder.add(record));
    const at = BigInt(builder.recordCount - 1);
    collecting ??= Promise.withResolvers();
    const { promise } = collecting;
    void sendIfFull();
    const { firstOffset, timestamp, duplicate } = await promise;
    return { offset: firstOffset + at, timestamp, duplicate };
  }

  async function flush(): Promise<void> {
    sendCollected();
    await last;
    assertOpen();
  }

  return {
    stream,
    producerId: pipeline.producerId,
    get acknowledged() {
      return pipeline.acknowledged;
    },
    add(record) {
      collect(() => builder.add(record));
      return sendIfFull();
    },
    addEncoded(record) {
      collect(() => builder.addEncoded(record));
      return sendIfFull();
    },
    send: sendRecord,
    room: () => pipeline.room(),
    publish: async (records) => publishEncoded(encodeBatch(records)),
    publishEncoded,
    flush,
    async close() {
      try {
        await flush();
      } finally {
        if (owned) await pipeline.close();
      }
    },
  };
}
