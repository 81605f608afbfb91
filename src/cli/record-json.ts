/**
 * Records as lines of JSON, and back: lossless for every record that the vault stores, whatever its bytes.
 *
 *     offset        string: JSON's numbers do not hold all offsets
 *     timestamp     RFC 3339 in UTC, as is event_time: 3, 6 or 9 digits of a second
 *     key           string, or key_base64 where the bytes are no UTF-8; absent where there is none
 *     value         string, or value_base64
 *     headers       list of { name, value or value_base64 }, in order; absent where there are none
 *     event_time    absent where the publisher gave none
 *     more_base64   fields that this version does not know, as they are encoded; nearly always absent
 */
import { isUtf8 } from "node:buffer";
import { VaultError } from "../errors.ts";
import { varintBytes, WireCursor, writeVarint } from "../segment/wire.ts";

const tags = { offset: 0x08, timestamp: 0x12, key: 0x1a, value: 0x22, header: 0x2a, eventTime: 0x32 };
const headerTags = { name: 0x0a, value: 0x12 };
const timeTags = { seconds: 0x08, nanos: 0x10 };

interface Time {
  /** Since 1970: a Timestamp's range is well within what a number holds. */
  seconds: number;
  nanos: number;
}

type Fields = Record<string, unknown>;

const members: ReadonlySet<string> = new Set([
  "offset",
  "timestamp",
  "key",
  "key_base64",
  "value",
  "value_base64",
  "headers",
  "event_time",
  "more_base64",
]);
const headerMembers: ReadonlySet<string> = new Set(["name", "value", "value_base64"]);

/** Makes a line, its line feed included, of a protobuf encoding of Record. Throws MalformedError for what is none. */
export function toRecordLine(record: Uint8Array): string {
  const cursor = new WireCursor(record);
  const more: Uint8Array[] = [];
  let offset: number | bigint = 0;
  let timestamp: Time | undefined;
  let key = record.subarray(0, 0);
  let value = key;
  let headers = "";
  let eventTime: Time | undefined;
  while (cursor.position < cursor.end) {
    const start = cursor.position;
    const tag = cursor.readVarint();
    if (tag === tags.offset) offset = readInteger(cursor);
    else if (tag === tags.timestamp) timestamp = readTime(readBytes(cursor), timestamp);
    else if (tag === tags.key) key = readBytes(cursor);
    else if (tag === tags.value) value = readBytes(cursor);
    else if (tag === tags.header) headers += `${headers === "" ? "" : ","}${toHeader(readBytes(cursor))}`;
    else if (tag === tags.eventTime) eventTime = readTime(readBytes(cursor), eventTime);
    else {
      cursor.skip(tag & 7);
      more.push(record.subarray(start, cursor.position));
    }
  }
  // Put together by hand, as an object of all this, made and written, takes three times as long.
  let line = `{"offset":"${offset}"`;
  if (timestamp !== undefined) line += `,"timestamp":"${describe(timestamp)}"`;
  if (key.length > 0) line += `,${toMember("key", key)}`;
  line += `,${toMember("value", value)}`;
  if (headers !== "") line += `,"headers":[${headers}]`;
  if (eventTime !== undefined) line += `,"event_time":"${describe(eventTime)}"`;
  if (more.length > 0) line += `,"more_base64":"${Buffer.concat(more).toString("base64")}"`;
  return `${line}}\n`;
}

/** The offset of a protobuf encoding of Record. Throws MalformedError for what is none. */
export function readOffset(record: Uint8Array): bigint {
  const cursor = new WireCursor(record);
  while (cursor.position < cursor.end) {
    const tag = cursor.readVarint();
    if (tag === tags.offset) return cursor.readVarint64();
    cursor.skip(tag & 7);
  }
  return 0n;
}

/**
 * Makes of a line the protobuf encoding of Record. `null` is as good as absent. Throws `invalid`, with `name` for the
 * line, for what is no such line; a field of another name is refused, as nothing may be lost unnoticed.
 */
export function fromRecordLine(line: Uint8Array, name: string): Buffer {
  const fail = (what: string): never => {
    throw new VaultError("invalid", `${name} ${what}`);
  };
  const fields = parseObject(line, fail);
  for (const other in fields) if (!members.has(other)) fail(`has a field ${other}, which no record has`);
  const { offset, timestamp, key, key_base64, value, value_base64, headers, event_time, more_base64 } = fields;
  const parts: Uint8Array[] = [];
  const add = (tag: number, bytes: Uint8Array | undefined) => {
    if (bytes !== undefined) parts.push(encodeHead(tag, bytes.length), bytes);
  };
  // As every encoder does: an empty one is as good as none.
  const addFilled = (tag: number, bytes: Buffer | undefined) => add(tag, bytes?.length === 0 ? undefined : bytes);
  if (isGiven(offset)) parts.push(Buffer.from([tags.offset]), encodeVarint64(toOffset(offset, fail)));
  add(tags.timestamp, toTime(timestamp, "timestamp", fail));
  addFilled(tags.key, toBytes(key, key_base64, "key", fail));
  addFilled(tags.value, toBytes(value, value_base64, "value", fail));
  const list = isGiven(headers) ? headers : [];
  if (!Array.isArray(list)) fail("has headers that are no list");
  for (const header of list as unknown[]) add(tags.header, encodeHeader(header, fail));
  add(tags.eventTime, toTime(event_time, "event_time", fail));
  if (isGiven(more_base64)) parts.push(toBytes(undefined, more_base64, "more", fail) ?? Buffer.alloc(0));
  return Buffer.concat(parts);
}

type Fail = (what: string) => never;

function isGiven(value: unknown): boolean {
  return value !== undefined && value !== null;
}

function parseObject(line: Uint8Array, fail: Fail): Fields {
  // JSON.parse would not see it: what is no UTF-8 would come out as other text.
  if (!isUtf8(line)) fail("is no UTF-8");
  let parsed: unknown;
  try {
    parsed = JSON.parse(Buffer.from(line.buffer, line.byteOffset, line.length).toString());
  } catch (error) {
    fail(`is no JSON: ${error instanceof Error ? error.message : ""}`);
  }
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) fail("is no JSON object");
  return parsed as Fields;
}

function toOffset(offset: unknown, fail: Fail): bigint {
  const isOffset = (typeof offset === "string" && /^\d{1,20}$/.test(offset)) || Number.isSafeInteger(offset);
  const number = isOffset ? BigInt(offset as string | number) : -1n;
  return number >= 0n && number < 1n << 64n ? number : fail("has an offset that is none");
}

function toBytes(text: unknown, base64: unknown, field: string, fail: Fail): Buffer | undefined {
  if (isGiven(text) && isGiven(base64)) fail(`has both ${field} and ${field}_base64`);
  if (isGiven(base64)) {
    const bytes = typeof base64 === "string" ? Buffer.from(base64, "base64") : undefined;
    return bytes?.toString("base64") === base64 ? bytes : fail(`has a ${field}_base64 that is no base64`);
  }
  if (!isGiven(text)) return undefined;
  if (typeof text !== "string") return fail(`has a ${field} that is no text: write JSON into a string`);
  return text.isWellFormed() ? Buffer.from(text) : fail(`has a ${field} with half a character`);
}

function encodeHeader(header: unknown, fail: Fail): Buffer {
  if (typeof header !== "object" || header === null) return fail("has a header that is no object");
  for (const other in header) if (!headerMembers.has(other)) fail(`has a header with a field ${other}`);
  const { name, value, value_base64 } = header as Fields;
  const nameBytes = toBytes(name, undefined, "header's name", fail) ?? fail("has a header without a name");
  const valueBytes = toBytes(value, value_base64, "header's value", fail) ?? Buffer.alloc(0);
  return encodeNamed(nameBytes, valueBytes);
}

/** Encodes a Header message. */
export function encodeNamed(name: Uint8Array, value: Uint8Array): Buffer {
  const parts = [];
  if (name.length > 0) parts.push(encodeHead(headerTags.name, name.length), name);
  if (value.length > 0) parts.push(encodeHead(headerTags.value, value.length), value);
  return Buffer.concat(parts);
}

/** Encodes a tag below 128 and a length: what stands before a field of bytes. */
export function encodeHead(tag: number, sizeBytes: number): Buffer {
  const head = Buffer.allocUnsafe(1 + varintBytes(sizeBytes));
  head[0] = tag;
  writeVarint(head, 1, sizeBytes);
  return head;
}

const timePattern = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/;

function toTime(text: unknown, field: string, fail: Fail): Buffer | undefined {
  if (!isGiven(text)) return undefined;
  const [, whole = "", fraction = "", zone = ""] = (typeof text === "string" && timePattern.exec(text)) || [];
  const ms = Date.parse(whole + zone);
  if (Number.isNaN(ms)) return fail(`has a ${field} that is no RFC 3339 time, such as 2026-11-22T10:00:00.5Z`);
  const nanos = Number(fraction.padEnd(9, "0"));
  const seconds = ms / 1000;
  const parts = [];
  if (seconds !== 0) parts.push(Buffer.from([timeTags.seconds]), encodeInteger(seconds));
  if (nanos !== 0) parts.push(Buffer.from([timeTags.nanos]), encodeInteger(nanos));
  return Buffer.concat(parts);
}

function encodeInteger(value: number): Buffer {
  if (value < 0) return encodeVarint64(BigInt.asUintN(64, BigInt(value)));
  const bytes = Buffer.allocUnsafe(varintBytes(value));
  writeVarint(bytes, 0, value);
  return bytes;
}

function encodeVarint64(value: bigint): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80n; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  return Buffer.from([...bytes, Number(rest)]);
}

function readBytes(cursor: WireCursor): Uint8Array {
  const sizeBytes = cursor.readLength();
  cursor.position += sizeBytes;
  return cursor.bytes.subarray(cursor.position - sizeBytes, cursor.position);
}

// As everywhere in protobuf, a message that comes twice is merged.
function readTime(bytes: Uint8Array, before?: Time): Time {
  const cursor = new WireCursor(bytes);
  const time = { seconds: before?.seconds ?? 0, nanos: before?.nanos ?? 0 };
  while (cursor.position < cursor.end) {
    const tag = cursor.readVarint();
    if (tag === timeTags.seconds) time.seconds = toSigned(readInteger(cursor));
    else if (tag === timeTags.nanos) time.nanos = cursor.readVarint();
    else cursor.skip(tag & 7);
  }
  return time;
}

function toSigned(value: number | bigint): number {
  return typeof value === "number" ? value : Number(BigInt.asIntN(64, value));
}

const plainBytesMax = 7;

/** Reads a varint of up to 64 bits: as a number where it takes 7 bytes or fewer, which costs a tenth of a bigint. */
function readInteger(cursor: WireCursor): number | bigint {
  const { bytes, position, end } = cursor;
  let value = 0;
  let factor = 1;
  for (let at = position; at < end && at < position + plainBytesMax; at++) {
    const byte = bytes[at]!;
    value += (byte & 0x7f) * factor;
    factor *= 0x80;
    if (byte >= 0x80) continue;
    cursor.position = at + 1;
    return value;
  }
  return cursor.readVarint64();
}

/** `2026-11-22T10:00:00.000Z`: with three digits of a second, or six or nine where they are needed. */
function describe({ seconds, nanos }: Time): string {
  if (nanos % 1_000_000 === 0) return new Date(seconds * 1000 + nanos / 1_000_000).toISOString();
  const fraction = nanos.toString().padStart(9, "0").replace(/000$/, "");
  return new Date(seconds * 1000).toISOString().replace(/000Z$/, `${fraction}Z`);
}

function toHeader(bytes: Uint8Array): string {
  const cursor = new WireCursor(bytes);
  let name = bytes.subarray(0, 0);
  let value = name;
  while (cursor.position < cursor.end) {
    const tag = cursor.readVarint();
    if (tag === headerTags.name) name = readBytes(cursor);
    else if (tag === headerTags.value) value = readBytes(cursor);
    else cursor.skip(tag & 7);
  }
  return `{"name":${JSON.stringify(asBuffer(name).toString())},${toMember("value", value)}}`;
}

// UTF-8 as a string; anything else in base64, under a name that says so.
function toMember(name: string, bytes: Uint8Array): string {
  const buffer = asBuffer(bytes);
  if (isUtf8(buffer)) return `"${name}":${JSON.stringify(buffer.toString())}`;
  return `"${name}_base64":"${buffer.toString("base64")}"`;
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}
