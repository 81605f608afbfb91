/**
 * What an import stores of a record: its fields as they are, without the offset and timestamp that it had, which the
 * vault gives anew. Nothing is decoded: most records are a part of the bytes that were read.
 */
import { VaultError } from "../errors.ts";
import { MalformedError, WireCursor } from "../segment/wire.ts";
import { encodeHead, encodeNamed, toRecordLine } from "./record-json.ts";

/** Where the timestamp that a record had goes: into an event time that is absent, into headers, or nowhere. */
export type OriginalTime = "event-time" | "header" | "drop";

/** The headers that `header` adds. */
export const originHeaders = { offset: "messagevault-offset", timestamp: "messagevault-timestamp" } as const;

const field = { offset: 1, timestamp: 2, eventTime: 6 };
const tags = { header: 0x2a, eventTime: 0x32 };

/** Makes of a protobuf encoding of Record the one to store. Throws `invalid`, with `name` for the record, for what is none. */
export function toImported(record: Uint8Array, original: OriginalTime, name: string): Uint8Array {
  try {
    return convert(record, original);
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error;
    throw new VaultError("invalid", `${name} is no Record message: ${error.message}`);
  }
}

function convert(record: Uint8Array, original: OriginalTime): Uint8Array {
  const cursor = new WireCursor(record);
  const kept: Uint8Array[] = [];
  let keptFrom = 0;
  let timestamp: Uint8Array | undefined;
  let hasEventTime = false;
  while (cursor.position < cursor.end) {
    const start = cursor.position;
    const tag = cursor.readVarint();
    const bodyStart = cursor.position;
    cursor.skip(tag & 7);
    const id = tag >>> 3;
    if (id === field.eventTime) hasEventTime = true;
    if (id !== field.offset && id !== field.timestamp) continue;
    if (id === field.timestamp) timestamp = record.subarray(bodyStart, cursor.position);
    if (start > keptFrom) kept.push(record.subarray(keptFrom, start));
    keptFrom = cursor.position;
  }
  kept.push(record.subarray(keptFrom));
  if (original === "event-time" && !hasEventTime && timestamp !== undefined) {
    kept.push(Buffer.from([tags.eventTime]), timestamp);
  }
  if (original === "header" && timestamp !== undefined) kept.push(...encodeOrigin(record));
  return kept.length === 1 ? kept[0]! : Buffer.concat(kept);
}

function encodeOrigin(record: Uint8Array): Buffer[] {
  const { offset, timestamp } = JSON.parse(toRecordLine(record)) as { offset: string; timestamp: string };
  const headers = [
    encodeNamed(Buffer.from(originHeaders.offset), Buffer.from(offset)),
    encodeNamed(Buffer.from(originHeaders.timestamp), Buffer.from(timestamp)),
  ];
  return headers.flatMap((header) => [encodeHead(tags.header, header.length), header]);
}
