/**
 * Finding the traces that records belong to, in their `traceparent` headers.
 *
 * Nearly all records are not sampled. So their bytes are walked with plain numbers, whether one is sampled is looked at
 * before anything is made of it, and what does not look as encoders write it is passed over.
 */
import { readTraceContext, type TraceContext } from "../trace-context.ts";
import type { RecordBatch } from "./batch.ts";

/** At the head of a request or a response so many records are looked at: to look at all would cost more than to send them. */
export const tracedRecordsMax = 32;

/** The contexts of a publish's records that are sampled, of its first `tracedRecordsMax`. */
export function findBatchTraces({ source, bounds }: RecordBatch): TraceContext[] {
  const found: TraceContext[] = [];
  const end = Math.min(bounds.length, 2 * tracedRecordsMax);
  for (let i = 0; i < end; i += 2) {
    addTrace(source, bounds[i]!, bounds[i + 1]!, found);
  }
  return found;
}

/** The same of stored records: `payload` is a run of `records` fields, in pieces that are cut between records. */
export function findStoredTraces(payload: readonly Uint8Array[]): TraceContext[] {
  const found: TraceContext[] = [];
  let seen = 0;
  for (const piece of payload) {
    let at = 0;
    while (at < piece.length && seen++ < tracedRecordsMax) {
      const start = at + 1 + varintLength(piece, at + 1);
      at = start + varintAt(piece, at + 1);
      addTrace(piece, start, at, found);
    }
  }
  return found;
}

/** Adds the context of the record whose body is at [start, end), if it is sampled. The first of two headers counts. */
function addTrace(bytes: Uint8Array, start: number, end: number, found: TraceContext[]): void {
  const header = findHeader(bytes, start, end, parentName);
  if (header < 0 || !isSampled(bytes, header)) return;
  const state = findHeader(bytes, start, end, stateName);
  const trace = readTraceContext(valueOf(bytes, header, end), state < 0 ? undefined : valueOf(bytes, state, end));
  if (trace !== undefined) found.push(trace);
}

const headersTag = 0x2a;
const nameTag = 0x0a;
const valueTag = 0x12;
const parentName = Buffer.from("traceparent");
const stateName = Buffer.from("tracestate");

/** Where the length of the value of the header `name` stands, of the record whose body is at [start, end); -1: none. */
function findHeader(bytes: Uint8Array, start: number, end: number, name: Uint8Array): number {
  let at = start;
  while (at < end) {
    const tag = bytes[at++]!;
    switch (tag & 7) {
      case 0:
        while (at < end && bytes[at++]! >= 0x80);
        break;
      case 1:
        at += 8;
        break;
      case 2: {
        let length = bytes[at++]!;
        if (length >= 0x80) {
          length = varintAt(bytes, at - 1);
          at += varintLength(bytes, at - 1) - 1;
        }
        if (tag === headersTag && isNamed(bytes, at, at + length, name)) return at + name.length + 3;
        at += length;
        break;
      }
      case 5:
        at += 4;
        break;
      default:
        return -1;
    }
    // A tag of two bytes is that of a field which nobody knows here.
    if (tag >= 0x80) return -1;
  }
  return -1;
}

/** Whether a header is written as encoders do, name and then value, and goes by this name. */
function isNamed(bytes: Uint8Array, at: number, end: number, name: Uint8Array): boolean {
  const { length } = name;
  if (bytes[at + 1] !== length || bytes[at] !== nameTag || at + length + 4 > end) return false;
  for (let i = 0; i < length; i++) if (bytes[at + 2 + i] !== name[i]) return false;
  return bytes[at + 2 + length] === valueTag;
}

/** A `traceparent` of version 0 is so long, and its last digit is odd where it is sampled. */
const parentLength = 55;

function isSampled(bytes: Uint8Array, header: number): boolean {
  if (bytes[header] !== parentLength) return false;
  // Of the digits 0 to 9 and a to f those of odd numbers: a is 0x61.
  const digit = bytes[header + parentLength]!;
  return ((digit >= 0x61 ? digit + 1 : digit) & 1) === 1;
}

function valueOf(bytes: Uint8Array, header: number, end: number): string {
  const start = header + varintLength(bytes, header);
  const valueEnd = Math.min(start + varintAt(bytes, header), end);
  let text = "";
  for (let i = start; i < valueEnd; i++) text += String.fromCharCode(bytes[i]!);
  return text;
}

function varintAt(bytes: Uint8Array, at: number): number {
  let value = 0;
  let factor = 1;
  for (let i = at; i < bytes.length; i++) {
    const byte = bytes[i]!;
    value += (byte & 0x7f) * factor;
    if (byte < 0x80) break;
    factor *= 0x80;
  }
  return value;
}

function varintLength(bytes: Uint8Array, at: number): number {
  let end = at;
  while (end < bytes.length && bytes[end]! >= 0x80) end++;
  return end + 1 - at;
}
