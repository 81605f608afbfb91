import type { PublishReceipt } from "./publish-request.ts";

/** What was acknowledged so far. */
export interface Acknowledged {
  readonly requestCount: number;
  readonly recordCount: number;
  /** Bytes of requests. */
  readonly sizeBytes: number;
  /** Requests whose answer said that they had been stored before. */
  readonly duplicateCount: number;
  /** By stream. */
  readonly streams: ReadonlyMap<string, AcknowledgedRange>;
}

/** What was acknowledged in one stream. Where others publish too, not all of the range is this publisher's. */
export interface AcknowledgedRange {
  readonly recordCount: number;
  readonly firstOffset: bigint;
  readonly nextOffset: bigint;
}

/** Counts it. */
export class AcknowledgedCounts implements Acknowledged {
  requestCount = 0;
  recordCount = 0;
  sizeBytes = 0;
  duplicateCount = 0;
  readonly streams = new Map<string, AcknowledgedRange>();

  /** A request of so many records and bytes was answered. */
  add(records: number, bytes: number, { stream, firstOffset, nextOffset, duplicate }: PublishReceipt): void {
    this.requestCount++;
    this.recordCount += records;
    this.sizeBytes += bytes;
    if (duplicate) this.duplicateCount++;
    const before = this.streams.get(stream) ?? { recordCount: 0, firstOffset };
    const recordCount = before.recordCount + records;
    this.streams.set(stream, { recordCount, firstOffset: before.firstOffset, nextOffset });
  }
}
