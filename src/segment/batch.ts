/**
 * A batch of records on its way in: one pass over the wire bytes checks every record and notes where it lies. Nothing
 * is decoded, and no object is made per record; the bytes of a record are copied once, into the commit.
 */
import { isUtf8 } from "node:buffer";
import { crc32 } from "../crc32.ts";
import { VaultError } from "../errors.ts";
import { MalformedError, varintBytes, WireCursor } from "./wire.ts";

/** What a record may weigh. */
export interface RecordLimits {
  /** The most bytes of one record as it is sent, without its tag and length. */
  readonly recordBytesMax: number;
  /** The most bytes of a key. */
  readonly keyBytesMax: number;
  /** The most bytes of a batch as it is counted: see `RecordBatch.storedBytes`. */
  readonly batchBytesMax: number;
}

/** Checked records, ready to be stored. */
export interface RecordBatch {
  /** The bytes that `bounds` speak of: the request's, or a copy where records had to be changed. */
  readonly source: Buffer;
  /** For each record two numbers: where its body begins and ends in `source`. */
  readonly bounds: readonly number[];
  /** How many records there are: at least 1. */
  readonly count: number;
  /** What the records take when they are stored, at the most: offsets and timestamps included. */
  readonly storedBytes: number;
  /**
   * CRC-32 of the records as they were sent: tells whether a resent batch holds the same records. 0 where it was not
   * asked for, as nobody compares it then.
   */
  readonly checksum: number;
}

/**
 * What the vault adds to a record at the most: tag (1), offset (1 + 8 bytes: below 2^53), timestamp (2 + 6 + 6). The
 * length's varint comes on top and is counted as it is.
 */
export const recordOverheadBytes = 24;

const offsetField = 1;
const timestampField = 2;

/** Collects the records of one request. */
export class BatchReader {
  private readonly cursor: WireCursor;
  private readonly source: Buffer;
  private readonly limits: RecordLimits;
  private readonly bounds: number[] = [];
  private readonly stamped: number[] = [];
  private storedBytes = 0;
  /** What lies side by side in the request, nearly always all records: two numbers for each run. */
  private readonly runs: number[] = [];
  private runStart = 0;
  private runEnd = 0;

  constructor(source: Buffer, limits: RecordLimits) {
    this.source = source;
    this.limits = limits;
    this.cursor = new WireCursor(source);
  }

  /** Checks the record whose body is at [start, end); `fieldStart` is where its tag stands. Throws `invalid`. */
  add(fieldStart: number, start: number, end: number): void {
    if (end - start > this.limits.recordBytesMax) {
      throw this.invalid("", `is ${end - start} bytes, a record may have at most ${this.limits.recordBytesMax}`);
    }
    if (!this.isPlain(start, end) && this.checkRecord(start, end)) this.stamped.push(this.bounds.length);
    this.bounds.push(start, end);
    this.storedBytes += end - start + recordOverheadBytes + varintBytes(end - start + recordOverheadBytes);
    if (fieldStart !== this.runEnd) {
      this.closeRun();
      this.runStart = fieldStart;
    }
    this.runEnd = end;
  }

  /** The batch, with its checksum where that is wanted. Throws `invalid` where it is empty or too large. */
  finish(withChecksum: boolean): RecordBatch {
    this.closeRun();
    const { bounds, storedBytes, limits } = this;
    if (bounds.length === 0) throw new VaultError("invalid", "records: at least one is needed", { field: "records" });
    if (storedBytes > limits.batchBytesMax) {
      const message = `records: ${storedBytes} bytes as they are stored, a batch may have at most ${limits.batchBytesMax}`;
      throw new VaultError("invalid", message, { field: "records" });
    }
    const checksum = withChecksum ? this.computeChecksum() : 0;
    // The request's bytes stay as they came: they may have to be sent on to another node.
    const source = this.stamped.length === 0 ? this.source : Buffer.from(this.source);
    for (const at of this.stamped) bounds[at + 1] = removeStamp(source, bounds[at]!, bounds[at + 1]!);
    return { source, bounds, count: bounds.length / 2, storedBytes, checksum };
  }

  private closeRun(): void {
    if (this.runEnd > this.runStart) this.runs.push(this.runStart, this.runEnd);
  }

  private computeChecksum(): number {
    let checksum = 0;
    for (let i = 0; i < this.runs.length; i += 2) {
      checksum = crc32(this.source.subarray(this.runs[i], this.runs[i + 1]), checksum);
    }
    return checksum;
  }

  /** Whether the record is a value and nothing else, as most are: then there is nothing more to check. */
  private isPlain(start: number, end: number): boolean {
    const { source } = this;
    if (end - start < 2 || source[start] !== 0x22) return false;
    const length = source[start + 1]!;
    if (length < 0x80) return start + 2 + length === end;
    if (end - start < 3) return false;
    const high = source[start + 2]!;
    return high < 0x80 && start + 3 + (length & 0x7f) + (high << 7) === end;
  }

  /** Walks the fields of a record. True if it carries an offset or timestamp, which are the vault's to give. */
  private checkRecord(start: number, end: number): boolean {
    const cursor = this.cursor;
    cursor.position = start;
    cursor.end = end;
    let stamped = false;
    let tag = 0;
    try {
      while (cursor.position < end) {
        // Where the tag itself is malformed, the field is not known.
        tag = 0;
        tag = cursor.readVarint();
        switch (tag) {
          case 0x1a: // key
            this.passKey(cursor);
            break;
          case 0x22: // value
            cursor.skip(2);
            break;
          case 0x2a: // headers
            this.checkHeader(cursor);
            break;
          case 0x32: // event_time
            this.checkTimestamp(cursor);
            break;
          case 0x08: // offset
          case 0x12: // timestamp
            stamped = true;
            cursor.skip(tag & 7);
            break;
          default:
            checkUnknownTag(tag, 6);
            cursor.skip(tag & 7);
        }
      }
    } catch (error) {
      if (error instanceof MalformedError) throw this.invalid(fieldSuffix(tag), `is malformed: ${error.message}`);
      throw error;
    } finally {
      cursor.end = this.source.length;
    }
    return stamped;
  }

  private passKey(cursor: WireCursor): void {
    const length = cursor.readLength();
    if (length > this.limits.keyBytesMax) {
      throw this.invalid(".key", `is ${length} bytes, a key may have at most ${this.limits.keyBytesMax}`);
    }
    cursor.position += length;
  }

  private checkHeader(cursor: WireCursor): void {
    const length = cursor.readLength();
    const outerEnd = cursor.end;
    const end = cursor.position + length;
    cursor.end = end;
    while (cursor.position < end) {
      const tag = cursor.readVarint();
      if (tag === 0x0a) {
        const nameBytes = cursor.readLength();
        if (!isUtf8Range(cursor.bytes, cursor.position, cursor.position + nameBytes)) {
          throw this.invalid(".headers.name", "is not valid UTF-8");
        }
        cursor.position += nameBytes;
      } else {
        if (tag !== 0x12) checkUnknownTag(tag, 2);
        cursor.skip(tag & 7);
      }
    }
    cursor.end = outerEnd;
  }

  /** A timestamp out of protobuf's range would break consumers that turn records into JSON. */
  private checkTimestamp(cursor: WireCursor): void {
    const length = cursor.readLength();
    const outerEnd = cursor.end;
    const end = cursor.position + length;
    cursor.end = end;
    while (cursor.position < end) {
      const tag = cursor.readVarint();
      if (tag !== 0x08 && tag !== 0x10) {
        checkUnknownTag(tag, 2);
        cursor.skip(tag & 7);
        continue;
      }
      const value = BigInt.asIntN(64, cursor.readVarint64());
      const [low, high] = tag === 0x08 ? secondsRange : nanosRange;
      if (value < low || value > high) throw this.invalid(".event_time", "is out of range: years 1 to 9999");
    }
    cursor.end = outerEnd;
  }

  private invalid(suffix: string, problem: string): VaultError {
    const field = `records[${this.bounds.length / 2}]${suffix}`;
    return new VaultError("invalid", `${field} ${problem}`, { field });
  }
}

/** The range of google.protobuf.Timestamp: 0001-01-01T00:00:00Z to 9999-12-31T23:59:59.999999999Z. */
const secondsRange = [-62135596800n, 253402300799n] as const;
const nanosRange = [0n, 999999999n] as const;

/** Unknown fields are kept for newer readers; a known one with another wire type, or number 0, is refused. */
function checkUnknownTag(tag: number, knownFieldMax: number): void {
  const field = Math.floor(tag / 8);
  if (field === 0 || field > 0x1fffffff) throw new MalformedError("a field number is out of range");
  if (field <= knownFieldMax) throw new MalformedError(`field ${field} has the wrong type`);
}

function fieldSuffix(tag: number): string {
  return ["", ".offset", ".timestamp", ".key", ".value", ".headers", ".event_time"][Math.floor(tag / 8)] ?? "";
}

/** Header names are short and nearly always ASCII: looking here is faster than a call into the runtime. */
function isUtf8Range(bytes: Uint8Array, start: number, end: number): boolean {
  for (let i = start; i < end; i++) {
    if (bytes[i]! >= 0x80) return isUtf8(bytes.subarray(start, end));
  }
  return true;
}

/** Takes offset and timestamp out of a checked record, in place, and returns where it ends now. */
function removeStamp(source: Buffer, start: number, end: number): number {
  const cursor = new WireCursor(source, start, end);
  let kept = start;
  while (cursor.position < end) {
    const fieldStart = cursor.position;
    const tag = cursor.readVarint();
    cursor.skip(tag & 7);
    const field = Math.floor(tag / 8);
    if (field === offsetField || field === timestampField) continue;
    source.copyWithin(kept, fieldStart, cursor.position);
    kept += cursor.position - fieldStart;
  }
  return kept;
}
