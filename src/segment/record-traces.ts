/** Finding the traces that records belong to, in their `traceparent` headers, without decoding the records. */
import { readTraceContext, type TraceContext } from "../trace-context.ts";
import type { RecordBatch } from "./batch.ts";
import { MalformedError, WireCursor } from "./wire.ts";

/** At the head of a batch so many records are looked at. */
export const tracedRecordsMax = 256;

/** Of a batch so many contexts are told. */
export const tracesMax = 32;

/** The contexts of a publish's records that are sampled: at most `tracesMax`, from the first `tracedRecordsMax`. */
export function findBatchTraces({ source, bounds }: RecordBatch): TraceContext[] {
  const found: TraceContext[] = [];
  const end = Math.min(bounds.length, 2 * tracedRecordsMax);
  const cursor = new WireCursor(source);
  for (let i = 0; i < end && found.length < tracesMax; i += 2) {
    const trace = readTrace(cursor, bounds[i]!, bounds[i + 1]!);
    if (trace?.sampled === true) found.push(trace);
  }
  return found;
}

/** The same of stored records: `payload` is a run of `records` fields, in pieces that are cut between records. */
export function findStoredTraces(payload: readonly Uint8Array[]): TraceContext[] {
  const found: TraceContext[] = [];
  let seen = 0;
  for (const piece of payload) {
    const cursor = new WireCursor(piece);
    while (cursor.position < piece.length) {
      if (seen++ >= tracedRecordsMax || found.length >= tracesMax) return found;
      cursor.end = piece.length;
      cursor.position++;
      const start = cursor.position + lengthBytes(cursor);
      const trace = readTrace(cursor, start, cursor.position);
      if (trace?.sampled === true) found.push(trace);
    }
  }
  return found;
}

/** Passes over a length and what it measures, and tells how many bytes the length itself takes. */
function lengthBytes(cursor: WireCursor): number {
  const start = cursor.position;
  const length = cursor.readLength();
  const bytes = cursor.position - start;
  cursor.position += length;
  return bytes;
}

/** Leaves the cursor at the record's end. Where a header comes twice the first counts, as for HTTP. */
function readTrace(cursor: WireCursor, start: number, end: number): TraceContext | undefined {
  cursor.position = start;
  cursor.end = end;
  let parent: string | undefined;
  let state: string | undefined;
  try {
    while (cursor.position < end) {
      const tag = cursor.readVarint();
      if (tag !== 0x2a) {
        cursor.skip(tag & 7);
        continue;
      }
      const headerEnd = cursor.readLength() + cursor.position;
      const nameLength = headerNameLength(cursor, headerEnd);
      if (nameLength === parentName.length) parent ??= readHeader(cursor, headerEnd, parentName);
      else if (nameLength === stateName.length) state ??= readHeader(cursor, headerEnd, stateName);
      cursor.position = headerEnd;
    }
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error;
  }
  cursor.position = end;
  return readTraceContext(parent, state);
}

const parentName = Buffer.from("traceparent");
const stateName = Buffer.from("tracestate");

/** The length of the name, where the header begins with it as all encoders have it; 0 elsewhere. */
function headerNameLength({ bytes, position }: WireCursor, headerEnd: number): number {
  return position + 1 < headerEnd && bytes[position] === 0x0a ? bytes[position + 1]! : 0;
}

/** The value, where the header goes by this name and holds nothing but that and the value. */
function readHeader(cursor: WireCursor, headerEnd: number, name: Buffer): string | undefined {
  const nameStart = cursor.position + 2;
  const { bytes } = cursor;
  const nameEnd = nameStart + name.length;
  if (nameEnd >= headerEnd || name.compare(bytes, nameStart, nameEnd) !== 0) return undefined;
  cursor.position = nameEnd;
  if (cursor.readVarint() !== 0x12) return undefined;
  const length = cursor.readLength();
  return Buffer.from(bytes.buffer, bytes.byteOffset + cursor.position, length).toString("latin1");
}
