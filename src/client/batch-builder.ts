/**
 * Collects records for one publish request, encoded as they are added, so that nothing is encoded twice however often
 * the request is sent.
 *
 * The bytes are the `records` field of a PublishRequest: for each record the tag 0x12, a length, and the Record message.
 * As protobuf messages may be put end to end, a request is these bytes behind the encoding of its other fields.
 */
import { toBinary } from "@bufbuild/protobuf";
import { TimestampSchema, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { VaultError } from "../errors.ts";
import { varintBytes, writeVarint } from "../segment/wire.ts";

/** A record to publish. Strings are stored as UTF-8. */
export interface RecordInput {
  /** At most 1 KiB. */
  readonly key?: Uint8Array | string | undefined;
  readonly value: Uint8Array | string;
  /** Order and repeats are kept. */
  readonly headers?: readonly HeaderInput[] | undefined;
  /** When the event happened, in milliseconds since 1970. */
  readonly eventTime?: number | undefined;
}

/** A header of a record to publish. */
export interface HeaderInput {
  readonly name: string;
  readonly value: Uint8Array | string;
}

/** Records, ready to be sent. */
export interface EncodedBatch {
  /** The `records` field of a PublishRequest. */
  readonly bytes: Uint8Array;
  readonly recordCount: number;
}

/**
 * The most that the records of one request may take on storage, the vault's offsets and timestamps included: one commit
 * (4 MiB, less a page and a frame's header), less a little for the producer's id.
 */
export const batchStoredBytesMax = 4 * 1024 * 1024 - 8 * 1024;

// What the vault adds to a record at most: offset (1 + 10), timestamp (2 + 6 + 6), tag and length of the record (1 + 4).
const addedBytesMax = 30;

const initialBytes = 4096;

const tags = {
  records: 0x12,
  key: 0x1a,
  value: 0x22,
  headers: 0x2a,
  eventTime: 0x32,
  headerName: 0x0a,
  headerValue: 0x12,
};

const empty = new Uint8Array(0);

/** Collects records for one publish request at a time. */
export class BatchBuilder {
  private buffer = Buffer.allocUnsafe(initialBytes);
  private usedBytes = 0;
  /** How many records were added since the last `take`. */
  recordCount = 0;
  /** What the added records take on storage at most. */
  storedBytes = 0;

  /** Adds a record. Throws `invalid` if it is larger than any request may be, `overloaded` if it does not fit any more. */
  add(record: RecordInput): void {
    const { key = empty, value, headers = [], eventTime } = record;
    const keyBytes = byteLength(key);
    const valueBytes = byteLength(value);
    const time = eventTime === undefined ? empty : toBinary(TimestampSchema, timestampFromMs(eventTime));
    let sizeBytes = fieldBytes(keyBytes) + fieldBytes(valueBytes) + fieldBytes(time.length);
    for (const header of headers) {
      const headerBytes = measureHeader(header);
      sizeBytes += 1 + varintBytes(headerBytes) + headerBytes;
    }
    this.reserve(sizeBytes);
    let at = this.writeHead(tags.records, sizeBytes, this.usedBytes);
    // An absent field and an empty one are the same.
    if (keyBytes > 0) at = this.writeField(tags.key, key, keyBytes, at);
    if (valueBytes > 0) at = this.writeField(tags.value, value, valueBytes, at);
    for (const header of headers) {
      at = this.writeHead(tags.headers, measureHeader(header), at);
      at = this.writeField(tags.headerName, header.name, byteLength(header.name), at);
      at = this.writeField(tags.headerValue, header.value, byteLength(header.value), at);
    }
    if (time.length > 0) at = this.writeField(tags.eventTime, time, time.length, at);
    this.usedBytes = at;
  }

  /** Adds a record that is a protobuf encoding of Record already. Throws as `add` does. */
  addEncoded(record: Uint8Array): void {
    this.reserve(record.length);
    this.usedBytes = this.writeField(tags.records, record, record.length, this.usedBytes);
  }

  /** What was added since the last `take` or `clear`: a view, which holds until the next record is added. */
  get added(): EncodedBatch {
    return { bytes: this.buffer.subarray(0, this.usedBytes), recordCount: this.recordCount };
  }

  /** Begins anew. */
  clear(): void {
    this.usedBytes = 0;
    this.recordCount = 0;
    this.storedBytes = 0;
  }

  /** Takes what was added and begins anew. */
  take(): EncodedBatch {
    const { bytes, recordCount } = this.added;
    this.clear();
    return { bytes: Buffer.from(bytes), recordCount };
  }

  private reserve(recordBytes: number): void {
    const storedBytes = recordBytes + addedBytesMax;
    if (storedBytes > batchStoredBytesMax) {
      throw new VaultError("invalid", `a record of ${recordBytes} bytes is larger than the vault can store`);
    }
    if (this.storedBytes + storedBytes > batchStoredBytesMax) {
      throw new VaultError("overloaded", `a batch is limited to ${batchStoredBytesMax} bytes: publish it in parts`);
    }
    const neededBytes = this.usedBytes + storedBytes;
    if (neededBytes > this.buffer.length) {
      const grown = Buffer.allocUnsafe(Math.max(neededBytes, 2 * this.buffer.length));
      this.buffer.copy(grown, 0, 0, this.usedBytes);
      this.buffer = grown;
    }
    this.recordCount++;
    this.storedBytes += storedBytes;
  }

  private writeHead(tag: number, sizeBytes: number, position: number): number {
    this.buffer[position] = tag;
    return writeVarint(this.buffer, position + 1, sizeBytes);
  }

  private writeField(tag: number, value: Uint8Array | string, sizeBytes: number, position: number): number {
    const at = this.writeHead(tag, sizeBytes, position);
    if (typeof value === "string") this.buffer.write(value, at, sizeBytes, "utf8");
    else this.buffer.set(value, at);
    return at + sizeBytes;
  }
}

/** Encodes records as one batch. Throws `invalid` if they are too large for one request. */
export function encodeBatch(records: Iterable<RecordInput>): EncodedBatch {
  const builder = new BatchBuilder();
  for (const record of records) builder.add(record);
  return builder.take();
}

function measureHeader({ name, value }: HeaderInput): number {
  const nameBytes = byteLength(name);
  const valueBytes = byteLength(value);
  return 2 + varintBytes(nameBytes) + nameBytes + varintBytes(valueBytes) + valueBytes;
}

function fieldBytes(sizeBytes: number): number {
  return sizeBytes === 0 ? 0 : 1 + varintBytes(sizeBytes) + sizeBytes;
}

function byteLength(value: Uint8Array | string): number {
  return typeof value === "string" ? Buffer.byteLength(value) : value.length;
}
