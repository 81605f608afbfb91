import type { VaultClient } from "../client.ts";
import { encodeBatch } from "../client/batch-builder.ts";
import type { Clock } from "../clock.ts";
import { VaultError } from "../errors.ts";

/** One run against one stream. */
export interface BenchRun {
  readonly client: VaultClient;
  readonly clock: Clock;
  readonly stream: string;
  /** Ends the run early; what was measured until then is not worth much. */
  readonly signal: AbortSignal;
}

/** How much went through, and how fast. */
export interface Throughput {
  readonly recordCount: number;
  /** Bytes of the messages that carried the records. */
  readonly sizeBytes: number;
  readonly seconds: number;
  readonly recordsPerSecond: number;
  readonly latencies?: Latencies;
}

/** How long something took, in milliseconds. */
export interface Latencies {
  readonly sampleCount: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

// What is asked of the vault before anything is measured, so that both sides are warm.
const warmUpBatches = 4;

/** Publishes `records` records in batches of `batch`; latencies are those of the requests. */
export async function measurePublish(
  run: BenchRun,
  options: {
    readonly records: number;
    readonly recordBytes: number;
    readonly batch: number;
    readonly inFlight: number;
  },
): Promise<Throughput> {
  const { client, clock, signal } = run;
  const batch = encodeBatch(
    Array.from({ length: options.batch }, (_, i) => ({ value: makeValue(options.recordBytes, i) })),
  );
  const pipeline = client.pipeline({ inFlightRequestsMax: options.inFlight });
  for (let i = 0; i < warmUpBatches; i++) await pipeline.publish(run.stream, batch);
  const samples: number[] = [];
  const batchCount = Math.max(1, Math.round(options.records / options.batch));
  const failures: unknown[] = [];
  const startedAt = clock.monotonic();
  for (let i = 0; i < batchCount && failures.length === 0 && !signal.aborted; i++) {
    const sentAt = clock.monotonic();
    pipeline.publish(run.stream, batch).then(
      () => samples.push(clock.monotonic() - sentAt),
      (error: unknown) => failures.push(error),
    );
    await pipeline.turn();
  }
  await pipeline.close();
  if (failures.length > 0) throw failures[0];
  const recordCount = samples.length * options.batch;
  const sizeBytes = samples.length * batch.bytes.length;
  return summarize(recordCount, sizeBytes, clock.monotonic() - startedAt, samples);
}

/** Reads the stream from its start to its tail, without decoding records. Throws `corrupt` if fewer come than went in. */
export async function measureReplay(run: BenchRun, expectedRecords: number): Promise<Throughput> {
  const { client, clock, stream, signal } = run;
  let recordCount = 0;
  let sizeBytes = 0;
  const startedAt = clock.monotonic();
  for await (const delivery of client
    .subscribe(stream, { start: { at: "earliest" }, end: { at: "tail" }, signal })
    .batches()) {
    recordCount += delivery.recordCount;
    sizeBytes += delivery.bytes.length;
  }
  if (recordCount < expectedRecords && !signal.aborted) {
    throw new VaultError("corrupt", `${expectedRecords} records were acknowledged, but only ${recordCount} replayed`);
  }
  return summarize(recordCount, sizeBytes, clock.monotonic() - startedAt);
}

/** Publishes records one by one while a subscription waits at the tail: from the call to the arrival at the reader. */
export async function measureTail(
  run: BenchRun,
  options: { readonly recordBytes: number; readonly tailRecords: number },
): Promise<Latencies> {
  const { client, clock, stream } = run;
  const stop = new AbortController();
  const signal = AbortSignal.any([run.signal, stop.signal]);
  const deliveries = client.subscribe(stream, { signal }).batches();
  const pipeline = client.pipeline();
  const samples: number[] = [];
  try {
    // The first delivery says that the subscription stands at the tail.
    await deliveries.next();
    for (let i = 0; i < options.tailRecords && !signal.aborted; i++) {
      const sentAt = clock.monotonic();
      const published = pipeline.publish(stream, encodeBatch([{ value: makeValue(options.recordBytes, i) }]));
      // Who waits for the delivery below does not wait for this at the same time.
      published.catch(() => undefined);
      let recordCount = 0;
      while (recordCount === 0) {
        const next = await Promise.race([deliveries.next(), failWith(published)]);
        if (next.done === true) break;
        recordCount = next.value.recordCount;
      }
      samples.push(clock.monotonic() - sentAt);
      await published;
    }
  } finally {
    stop.abort();
    await pipeline.close();
  }
  return summarizeLatencies(samples);
}

// Never resolves; rejects if the publish does.
function failWith(published: Promise<unknown>): Promise<never> {
  return new Promise((_resolve, reject) => void published.catch(reject));
}

function makeValue(sizeBytes: number, seed: number): Buffer {
  return Buffer.alloc(sizeBytes, `{"event":"bench","number":${seed},"payload":"abcdefghijklmnopqrstuvwxyz"}`);
}

function summarize(recordCount: number, sizeBytes: number, elapsedMs: number, samples?: number[]): Throughput {
  const seconds = Math.max(0.001, elapsedMs / 1000);
  const throughput = { recordCount, sizeBytes, seconds, recordsPerSecond: recordCount / seconds };
  return samples === undefined ? throughput : { ...throughput, latencies: summarizeLatencies(samples) };
}

function summarizeLatencies(samples: readonly number[]): Latencies {
  const sorted = samples.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
  return { sampleCount: sorted.length, p50Ms: at(0.5), p99Ms: at(0.99), maxMs: at(1) };
}
