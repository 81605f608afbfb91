/**
 * Several streams as one, in the order of their records' timestamps; of records with the same timestamp, in the order of
 * the streams' names, and within a stream by offset.
 *
 * Of each stream one delivery is held, and the next is asked for when its last record was taken: so a stream that is far
 * ahead waits, and the transport holds its vault back. A record is yielded when no other stream can still bring one that
 * belongs before it: each has one at hand, has ended, or is known not to bring any before a **bound**, which is the
 * timestamp of its last record or, where the stream is read to its tail, what its vault promises as `completeUntil`.
 *
 * Invariants: what is yielded never goes back in that order; `cursor` is where each stream goes on behind what was
 * yielded.
 */
import type { Delivery } from "./delivery.ts";
import type { StreamRecord } from "./stream-record.ts";

/** A record with the stream that it is of. */
export interface MergedRecord {
  readonly stream: string;
  readonly record: StreamRecord;
}

/** Where several streams go on: of each by its name the next offset. */
export type MergedCursor = Readonly<Record<string, bigint>>;

/** A merged subscription: iterate it for records, once. */
export interface MergedSubscription extends AsyncIterable<MergedRecord> {
  /** Where to resume behind what was yielded last: what a consumer stores. A stream that was not heard of yet is missing. */
  readonly cursor: MergedCursor;
  /** All records with a timestamp before this one were yielded, in milliseconds since 1970; 0 before any are. */
  readonly completeUntil: number;
}

interface Source {
  readonly stream: string;
  readonly deliveries: AsyncGenerator<Delivery, void>;
  records: readonly StreamRecord[];
  at: number;
  /** The offset behind the delivery that is held. */
  nextOffset: bigint | undefined;
  /** No record that is not at hand has an earlier timestamp. */
  bound: number;
  ended: boolean;
  pulling: boolean;
}

/** Merges what the streams' subscriptions yield. */
export class Merge implements MergedSubscription {
  private readonly sources: readonly Source[];
  private readonly offsets: Record<string, bigint>;
  private failure: { readonly error: unknown } | undefined;
  private wake: (() => void) | undefined;
  private readonly stop: () => void;
  private yieldedUntil = 0;

  /** `streams`: the subscriptions by name. `cursor`: where those that go on begin. `stop` ends them all. */
  constructor(streams: ReadonlyMap<string, AsyncGenerator<Delivery, void>>, cursor: MergedCursor, stop: () => void) {
    this.offsets = { ...cursor };
    this.stop = stop;
    const fresh = { records: [], at: 0, nextOffset: undefined, bound: 0, ended: false, pulling: false };
    // By code units, as names have ASCII characters alone.
    const names = [...streams.keys()].toSorted((a, b) => (a < b ? -1 : 1));
    this.sources = names.map((stream) => ({ stream, deliveries: streams.get(stream)!, ...fresh }));
  }

  get cursor(): MergedCursor {
    return { ...this.offsets };
  }

  get completeUntil(): number {
    return this.yieldedUntil;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<MergedRecord, void> {
    try {
      for (;;) {
        for (const source of this.sources) if (source.at >= source.records.length) this.pull(source);
        if (this.failure !== undefined) throw this.failure.error;
        const next = this.findNext();
        if (next !== undefined) yield this.step(next);
        else if (this.sources.every(({ ended }) => ended)) return;
        else await this.news();
      }
    } finally {
      // A generator that waits for its vault would return only when that says something.
      this.stop();
      await Promise.allSettled(this.sources.map(({ deliveries }) => deliveries.return()));
    }
  }

  /** The stream whose record comes next; undefined where another may still bring one that belongs before it. */
  private findNext(): Source | undefined {
    let next: Source | undefined;
    let nextAt = Infinity;
    let waitingAt = Infinity;
    let waiting: Source | undefined;
    for (const source of this.sources) {
      const record = source.records[source.at];
      if (record !== undefined && record.timestamp < nextAt) [next, nextAt] = [source, record.timestamp];
      if (record === undefined && !source.ended && source.bound < waitingAt) {
        [waiting, waitingAt] = [source, source.bound];
      }
    }
    this.yieldedUntil = Math.max(this.yieldedUntil, Math.min(nextAt, waitingAt, maxTime));
    if (next === undefined || waiting === undefined || nextAt < waitingAt) return next;
    // Of one time, the stream whose name comes first.
    return nextAt === waitingAt && next.stream < waiting.stream ? next : undefined;
  }

  private step(source: Source): MergedRecord {
    const record = source.records[source.at++]!;
    const isLast = source.at === source.records.length;
    this.offsets[source.stream] = isLast ? source.nextOffset! : record.nextOffset;
    return { stream: source.stream, record };
  }

  private pull(source: Source): void {
    if (source.pulling || source.ended) return;
    source.pulling = true;
    source.deliveries
      .next()
      .then((next) => {
        if (next.done === true) source.ended = true;
        else this.take(source, next.value);
      })
      .catch((error: unknown) => {
        this.failure ??= { error };
      })
      .finally(() => {
        source.pulling = false;
        this.wake?.();
      });
  }

  private take(source: Source, delivery: Delivery): void {
    const { records, nextOffset, tailOffset, lastTimestamp = 0, completeUntil = 0 } = delivery;
    source.records = records;
    source.at = 0;
    source.nextOffset = nextOffset;
    source.bound = Math.max(source.bound, lastTimestamp, nextOffset >= tailOffset ? completeUntil : 0);
    if (records.length === 0) this.offsets[source.stream] = nextOffset;
  }

  private async news(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.wake = resolve;
    await promise;
    this.wake = undefined;
  }
}

// The latest time that a Date can have: what is complete for ever.
const maxTime = 8.64e15;
