/**
 * A record as a subscription yields it: a place in the response that brought it. What is read of it is decoded then, so
 * that what nobody reads costs nothing.
 *
 * Invariants: the fields' places are those of a walk that found the record well-formed; nothing is copied, so that every
 * byte array is a view of the response, which stays in memory for as long as any of its records or views does.
 */
import { fromBinary } from "@bufbuild/protobuf";
import { timestampMs, TimestampSchema } from "@bufbuild/protobuf/wkt";
import { MalformedError, WireCursor } from "../segment/wire.ts";

/** A header of a record. */
export interface StreamHeader {
  readonly name: string;
  /** A view of the response. */
  readonly value: Uint8Array;
}

const field = { offset: 1, timestamp: 2, key: 3, value: 4, headers: 5, eventTime: 6 };
const headerField = { name: 1, value: 2 };
const timestampField = { seconds: 1, nanos: 2 };
const nanosPerMs = 1e6;

/** A record of a stream. Its bytes are views of the response that brought it: copy what is kept for long. */
export class StreamRecord {
  /** When the vault stored it, in milliseconds since 1970. It never goes back from one record to the next. */
  readonly timestamp: number;
  private readonly place: number;
  private readonly bytes: Buffer;
  private readonly keyStart: number;
  private readonly keyEnd: number;
  private readonly valueStart: number;
  private readonly valueEnd: number;
  /** Where the first header or event time is; the record's end where there is neither. */
  private readonly restStart: number;
  private readonly end: number;

  /** Reads the record at `cursor`, which goes on behind it. Throws MalformedError. */
  constructor(cursor: WireCursor, bytes: Buffer, end: number) {
    let offset = 0;
    let timestamp = 0;
    let keyStart = 0;
    let keyEnd = 0;
    let valueStart = 0;
    let valueEnd = 0;
    let restStart = end;
    while (cursor.position < end) {
      const tagStart = cursor.position;
      const tag = cursor.readVarint();
      switch (tag >>> 3) {
        case field.offset:
          offset = readCount(cursor);
          break;
        case field.timestamp:
          timestamp = readTimestamp(cursor);
          break;
        case field.key:
          keyEnd = cursor.readLength();
          keyStart = cursor.position;
          cursor.position = keyEnd += keyStart;
          break;
        case field.value:
          valueEnd = cursor.readLength();
          valueStart = cursor.position;
          cursor.position = valueEnd += valueStart;
          break;
        default:
          if (restStart === end) restStart = tagStart;
          cursor.skip(tag & 7);
      }
    }
    if (cursor.position !== end) throw new MalformedError("a field goes beyond its record's end");
    this.timestamp = timestamp;
    this.place = offset;
    this.bytes = bytes;
    this.keyStart = keyStart;
    this.keyEnd = keyEnd;
    this.valueStart = valueStart;
    this.valueEnd = valueEnd;
    this.restStart = restStart;
    this.end = end;
  }

  /** Its number in the stream. */
  get offset(): bigint {
    return BigInt(this.place);
  }

  /** Where to resume behind it: what a consumer stores. */
  get nextOffset(): bigint {
    return BigInt(this.place + 1);
  }

  /** A view of its key; empty where it has none. */
  get key(): Uint8Array {
    return this.bytes.subarray(this.keyStart, this.keyEnd);
  }

  /** A view of its value. */
  get value(): Uint8Array {
    return this.bytes.subarray(this.valueStart, this.valueEnd);
  }

  /** How many bytes its value has: cheaper than `value.length`. */
  get valueBytes(): number {
    return this.valueEnd - this.valueStart;
  }

  /** Its headers, in order, repeats included. */
  get headers(): readonly StreamHeader[] {
    const headers: StreamHeader[] = [];
    this.readRest((id, start, end) => {
      if (id === field.headers) headers.push(readHeader(this.bytes, start, end));
    });
    return headers;
  }

  /** When the event happened by its producer's word, in milliseconds since 1970; undefined where it did not say. */
  get eventTime(): number | undefined {
    let eventTime: number | undefined;
    this.readRest((id, start, end) => {
      if (id === field.eventTime) eventTime = timestampMs(fromBinary(TimestampSchema, this.bytes.subarray(start, end)));
    });
    return eventTime;
  }

  /** Its value as text. What is no UTF-8 becomes U+FFFD. */
  text(): string {
    return this.bytes.toString("utf8", this.valueStart, this.valueEnd);
  }

  /** Its key as text. What is no UTF-8 becomes U+FFFD. */
  keyText(): string {
    return this.bytes.toString("utf8", this.keyStart, this.keyEnd);
  }

  /** Its value as JSON. Throws a SyntaxError where it is none. */
  json(): unknown {
    return JSON.parse(this.text());
  }

  private readRest(take: (id: number, start: number, end: number) => void): void {
    const cursor = new WireCursor(this.bytes, this.restStart, this.end);
    while (cursor.position < cursor.end) {
      const tag = cursor.readVarint();
      if ((tag & 7) === 2) {
        const end = cursor.readLength() + cursor.position;
        take(tag >>> 3, cursor.position, end);
        cursor.position = end;
      } else {
        cursor.skip(tag & 7);
      }
    }
  }
}

/** Reads a varint of up to 2^53 − 1: offsets, of which there are fewer, and times. Throws MalformedError. */
export function readCount(cursor: WireCursor): number {
  let value = 0;
  let factor = 1;
  const { bytes, end } = cursor;
  for (let at = cursor.position; at < end; at++) {
    const byte = bytes[at]!;
    value += (byte & 0x7f) * factor;
    if (byte < 0x80) {
      if (value > Number.MAX_SAFE_INTEGER) throw new MalformedError("a number is larger than any offset");
      cursor.position = at + 1;
      return value;
    }
    factor *= 0x80;
  }
  throw new MalformedError("the bytes end too early");
}

/** Reads a Timestamp message with its length, to milliseconds since 1970. Throws MalformedError. */
export function readTimestamp(cursor: WireCursor): number {
  const end = cursor.readLength() + cursor.position;
  let seconds = 0;
  let nanos = 0;
  while (cursor.position < end) {
    const tag = cursor.readVarint();
    if (tag >>> 3 === timestampField.seconds) seconds = readCount(cursor);
    else if (tag >>> 3 === timestampField.nanos) nanos = cursor.readVarint();
    else cursor.skip(tag & 7);
  }
  return seconds * 1000 + Math.floor(nanos / nanosPerMs);
}

function readHeader(bytes: Buffer, start: number, end: number): StreamHeader {
  const cursor = new WireCursor(bytes, start, end);
  let name = "";
  let value = bytes.subarray(start, start);
  while (cursor.position < end) {
    const tag = cursor.readVarint();
    if ((tag & 7) !== 2) {
      cursor.skip(tag & 7);
      continue;
    }
    const fieldEnd = cursor.readLength() + cursor.position;
    if (tag >>> 3 === headerField.name) name = bytes.toString("utf8", cursor.position, fieldEnd);
    else if (tag >>> 3 === headerField.value) value = bytes.subarray(cursor.position, fieldEnd);
    cursor.position = fieldEnd;
  }
  return { name, value };
}
