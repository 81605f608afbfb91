/**
 * What `subscribe` gives: a stream's records, or its batches, one after the other.
 *
 * Invariants: there is one reader and one pass; `nextOffset` and `lag` are those behind what the reader was given last.
 */
import { VaultError } from "../errors.ts";
import { lagSeconds } from "./delivery.ts";
import type { Delivery, Lag } from "./delivery.ts";
import type { StreamRecord } from "./stream-record.ts";

/** A subscription: iterate it for records, or its `batches()`, once. It begins with the first `next`. */
export interface Subscription extends AsyncIterable<StreamRecord> {
  /**
   * The records in the runs in which they come, which costs less than one by one; heartbeats too, which have no records
   * but say where to resume and how far the tail is.
   */
  batches(): AsyncGenerator<Delivery, void>;
  /** Where to resume behind what was yielded last; undefined before the first delivery. */
  readonly nextOffset: bigint | undefined;
  /** How far that is behind the tail, as it was told last; undefined before the first delivery. */
  readonly lag: Lag | undefined;
}

/** A subscription to what `deliveries` yields. */
export class StreamSubscription implements Subscription {
  private readonly deliveries: AsyncGenerator<Delivery, void>;
  private taken = false;
  private delivery: Delivery | undefined;
  /** The record that was yielded last, where the delivery has more. */
  private record: StreamRecord | undefined;

  constructor(deliveries: AsyncGenerator<Delivery, void>) {
    this.deliveries = deliveries;
  }

  get nextOffset(): bigint | undefined {
    return this.record?.nextOffset ?? this.delivery?.nextOffset;
  }

  get lag(): Lag | undefined {
    const { delivery, record } = this;
    if (delivery === undefined || record === undefined) return delivery?.lag;
    const records = delivery.tailOffset - record.nextOffset;
    return { records, seconds: lagSeconds(records, delivery.tailTimestamp, record.timestamp) };
  }

  async *batches(): AsyncGenerator<Delivery, void> {
    for await (const delivery of this.take()) {
      this.delivery = delivery;
      yield delivery;
    }
  }

  [Symbol.asyncIterator](): AsyncIterator<StreamRecord, void> {
    const deliveries = this.take();
    let records: readonly StreamRecord[] = [];
    let at = 0;
    const step = (): IteratorResult<StreamRecord, void> => {
      const value = records[at++]!;
      this.record = at < records.length ? value : undefined;
      return { done: false, value };
    };
    const pull = async (): Promise<IteratorResult<StreamRecord, void>> => {
      for (;;) {
        const next = await deliveries.next();
        if (next.done === true) return { done: true, value: undefined };
        this.delivery = next.value;
        records = next.value.records;
        at = 0;
        if (records.length > 0) return step();
      }
    };
    return {
      // No generator: most records are at hand, and an await for each would cost more than reading it.
      next: () => (at < records.length ? Promise.resolve(step()) : pull()),
      async return() {
        await deliveries.return();
        return { done: true, value: undefined };
      },
    };
  }

  private take(): AsyncGenerator<Delivery, void> {
    if (this.taken) throw new VaultError("invalid", "a subscription is read once: subscribe again");
    this.taken = true;
    return this.deliveries;
  }
}
