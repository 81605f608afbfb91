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

// Tags: the field's number and wire type, all of one byte.
const tags = { offset: 0x08, timestamp: 0x12, key: 0x1a, value: 0x22, headers: 0x2a, eventTime: 0x32 };
const headerTags = { name: 0x0a, value: 0x12 };
const timestampTags = { seconds: 0x08, nanos: 0x10 };
const nanosPerMs = 1e6;

/** A record of a stream. Its bytes are views of the response that brought it: copy what is kept for long. */
export class StreamRecord {
  private readonly bytes: Buffer;
  /** Where the fields' values begin; 0 where they are absent. No value begins at 0, as its tag stands before it. */
  private readonly offsetAt: number;
  private readonly timestampAt: number;
  private readonly keyStart: number;
  private readonly keyEnd: number;
  private readonly valueStart: number;
  private readonly valueEnd: number;
  /** Where the first field is that is none of these; the record's end where there is none. */
  private readonly restStart: number;
  private readonly end: number;

  /** Reads the record between the cursor's position and `end`, where the cursor is then. Throws MalformedError. */
  constructor(cursor: WireCursor, bytes: Buffer, end: number) {
    let offsetAt = 0;
    let timestampAt = 0;
    let keyStart = 0;
    let keyEnd = 0;
    let valueStart = 0;
    let valueEnd = 0;
    let restStart = end;
    let at = cursor.position;
    while (at < end) {
      const tagAt = at;
      const tag = bytes[at++]!;
      if (tag === tags.offset) {
        offsetAt = at;
        while (at < end && bytes[at]! >= 0x80) at++;
        at++;
        continue;
      }
      cursor.position = at;
      if (tag === tags.value) {
        const length = cursor.readLength();
        valueStart = cursor.position;
        at = valueEnd = valueStart + length;
      } else if (tag === tags.timestamp) {
        timestampAt = at;
        at = cursor.readLength() + cursor.position;
      } else if (tag === tags.key) {
        const length = cursor.readLength();
        keyStart = cursor.position;
        at = keyEnd = keyStart + length;
      } else {
        if (restStart === end) restStart = tagAt;
        cursor.position = tagAt;
        cursor.skip(cursor.readVarint() & 7);
        at = cursor.position;
      }
    }
    if (at !== end) throw new MalformedError("a field goes beyond its record's end");
    cursor.position = end;
    this.bytes = bytes;
    this.offsetAt = offsetAt;
    this.timestampAt = timestampAt;
    this.keyStart = keyStart;
    this.keyEnd = keyEnd;
    this.valueStart = valueStart;
    this.valueEnd = valueEnd;
    this.restStart = restStart;
    this.end = end;
  }

  /** Its number in the stream. */
  get offset(): bigint {
    return this.offsetAt === 0 ? 0n : new WireCursor(this.bytes, this.offsetAt, this.end).readVarint64();
  }

  /** Where to resume behind it: what a consumer stores. */
  get nextOffset(): bigint {
    return this.offset + 1n;
  }

  /** When the vault stored it, in milliseconds since 1970. It never goes back from one record to the next. */
  get timestamp(): number {
    return this.timestampAt === 0 ? 0 : readTimestamp(new WireCursor(this.bytes, this.timestampAt, this.end));
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
    this.readRest((tag, start, end) => {
      if (tag === tags.headers) headers.push(readHeader(this.bytes, start, end));
    });
    return headers;
  }

  /** When the event happened by its producer's word, in milliseconds since 1970; undefined where it did not say. */
  get eventTime(): number | undefined {
    let eventTime: number | undefined;
    this.readRest((tag, start, end) => {
      if (tag === tags.eventTime) eventTime = timestampMs(fromBinary(TimestampSchema, this.bytes.subarray(start, end)));
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

  private readRest(take: (tag: number, start: number, end: number) => void): void {
    const cursor = new WireCursor(this.bytes, this.restStart, this.end);
    while (cursor.position < cursor.end) {
      const tag = cursor.readVarint();
      if ((tag & 7) === 2) {
        const end = cursor.readLength() + cursor.position;
        take(tag, cursor.position, end);
        cursor.position = end;
      } else {
        cursor.skip(tag & 7);
      }
    }
  }
}

/** Reads a Timestamp message with its length, to milliseconds since 1970. Throws MalformedError. */
export function readTimestamp(cursor: WireCursor): number {
  const end = cursor.readLength() + cursor.position;
  let seconds = 0;
  let nanos = 0;
  while (cursor.position < end) {
    const tag = cursor.readVarint();
    // Four bytes of seconds are the time up to 2106: no record is of before 1970.
    if (tag === timestampTags.seconds) seconds = cursor.readVarint();
    else if (tag === timestampTags.nanos) nanos = cursor.readVarint();
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
    if (tag === headerTags.name) name = bytes.toString("utf8", cursor.position, fieldEnd);
    else if (tag === headerTags.value) value = bytes.subarray(cursor.position, fieldEnd);
    cursor.position = fieldEnd;
  }
  return { name, value };
}
