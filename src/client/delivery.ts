import { VaultError } from "../errors.ts";
import { MalformedError, WireCursor } from "../segment/wire.ts";
import { readTimestamp, StreamRecord } from "./stream-record.ts";

/** How far a reader is behind a stream's tail. */
export interface Lag {
  /** How many records lie between: 0 at the tail. */
  readonly records: bigint;
  /**
   * How much older than the stream's last record the last one that was read is, in seconds: 0 at the tail. Undefined
   * where no record was read yet.
   */
  readonly seconds: number | undefined;
}

/** What a subscription's batches are: a run of records, with where the stream stands. A heartbeat has no records. */
export interface Delivery {
  /** The response as it was received: a protobuf encoding of SubscribeResponse. */
  readonly bytes: Buffer;
  /** How many records it holds; none in a heartbeat. */
  readonly recordCount: number;
  /** The records, in order: read when this is first asked for. Their bytes are views of `bytes`. */
  readonly records: readonly StreamRecord[];
  /** Where to resume, what a consumer stores: the offset behind the last record that the vault looked at. */
  readonly nextOffset: bigint;
  /** The stream's next offset, as the vault knew it. */
  readonly tailOffset: bigint;
  /** The timestamp of the stream's last record, in milliseconds since 1970; undefined while there is none. */
  readonly tailTimestamp: number | undefined;
  /** The timestamp of the last record, of an earlier delivery where this one has none; undefined before the first. */
  readonly lastTimestamp: number | undefined;
  /** How far `nextOffset` is behind the tail. */
  readonly lag: Lag;
  /** True in what reaches the tail, and in heartbeats while there. */
  readonly caughtUp: boolean;
  /**
   * No record at or behind `tailOffset` has, or will ever have, a timestamp before this one, in milliseconds since 1970.
   * Undefined where the vault does not promise that now.
   */
  readonly completeUntil: number | undefined;
  /** The stream's incarnation. */
  readonly incarnation: string;
}

const field = {
  records: 1,
  nextOffset: 2,
  tailOffset: 3,
  tailTimestamp: 4,
  caughtUp: 5,
  incarnation: 6,
  completeUntil: 16,
};

/** What a delivery takes over from the one before it, as not every response repeats it. */
export type Before = Pick<Delivery, "incarnation" | "lastTimestamp">;

/**
 * Reads what a SubscribeResponse says beside its records, and leaves those alone. `before`: the delivery before it in
 * the subscription, or what is known there. Throws `corrupt` for what is no SubscribeResponse.
 */
export function readDelivery(bytes: Buffer, before: Before): Delivery {
  try {
    return new ReceivedDelivery(bytes, before);
  } catch (error) {
    throw toCorrupt(error);
  }
}

/** Yields each record of a response as it was received: a protobuf encoding of Record. */
export function* cutRecords(response: Uint8Array): Generator<Uint8Array> {
  const cursor = new WireCursor(response);
  while (cursor.position < cursor.end) {
    const tag = cursor.readVarint();
    if (tag >>> 3 === field.records) yield readBytes(cursor);
    else cursor.skip(tag & 7);
  }
}

class ReceivedDelivery implements Delivery {
  readonly bytes: Buffer;
  recordCount = 0;
  nextOffset = 0n;
  tailOffset = 0n;
  tailTimestamp: number | undefined = undefined;
  caughtUp = false;
  completeUntil: number | undefined = undefined;
  incarnation: string;
  lastTimestamp: number | undefined;
  private read: readonly StreamRecord[] | undefined = undefined;

  constructor(bytes: Buffer, { incarnation, lastTimestamp }: Before) {
    this.bytes = bytes;
    this.incarnation = incarnation;
    this.lastTimestamp = lastTimestamp;
    const cursor = new WireCursor(bytes);
    let last = 0;
    while (cursor.position < cursor.end) {
      const { position } = cursor;
      const count = this.recordCount;
      this.readField(cursor);
      if (this.recordCount > count) last = position;
    }
    if (this.recordCount > 0) this.lastTimestamp = readRecord(new WireCursor(bytes, last), bytes)!.timestamp;
  }

  get records(): readonly StreamRecord[] {
    this.read ??= this.readRecords();
    return this.read;
  }

  get lag(): Lag {
    const records = this.tailOffset - this.nextOffset;
    return { records, seconds: lagSeconds(records, this.tailTimestamp, this.lastTimestamp) };
  }

  private readRecords(): readonly StreamRecord[] {
    const { bytes, recordCount } = this;
    const records: StreamRecord[] = [];
    const cursor = new WireCursor(bytes);
    try {
      while (records.length < recordCount) {
        const record = readRecord(cursor, bytes);
        if (record !== undefined) records.push(record);
      }
    } catch (error) {
      throw toCorrupt(error);
    }
    return records;
  }

  private readField(cursor: WireCursor): void {
    const tag = cursor.readVarint();
    switch (tag >>> 3) {
      case field.records:
        this.recordCount++;
        cursor.skip(tag & 7);
        break;
      case field.nextOffset:
        this.nextOffset = cursor.readVarint64();
        break;
      case field.tailOffset:
        this.tailOffset = cursor.readVarint64();
        break;
      case field.tailTimestamp:
        this.tailTimestamp = readTimestamp(cursor);
        break;
      case field.caughtUp:
        this.caughtUp = cursor.readVarint() !== 0;
        break;
      case field.incarnation:
        this.incarnation = Buffer.from(readBytes(cursor)).toString();
        break;
      case field.completeUntil:
        this.completeUntil = readTimestamp(cursor);
        break;
      default:
        cursor.skip(tag & 7);
    }
  }
}

// Reads the next field of a response: undefined where it is no record.
function readRecord(cursor: WireCursor, bytes: Buffer): StreamRecord | undefined {
  const tag = cursor.readVarint();
  if (tag >>> 3 === field.records) {
    const length = cursor.readLength();
    return new StreamRecord(cursor, bytes, cursor.position + length);
  }
  cursor.skip(tag & 7);
  return undefined;
}

/** The lag in seconds of who has read all but `records` of them, and last the one with `timestamp`. */
export function lagSeconds(
  records: bigint,
  tailTimestamp: number | undefined,
  timestamp: number | undefined,
): number | undefined {
  if (records <= 0n) return 0;
  return timestamp === undefined || tailTimestamp === undefined ? undefined : (tailTimestamp - timestamp) / 1000;
}

function toCorrupt(error: unknown): unknown {
  if (!(error instanceof MalformedError)) return error;
  return new VaultError("corrupt", "the vault sent what is no SubscribeResponse", {}, error);
}

function readBytes(cursor: WireCursor): Uint8Array {
  const sizeBytes = cursor.readLength();
  cursor.position += sizeBytes;
  return cursor.bytes.subarray(cursor.position - sizeBytes, cursor.position);
}
