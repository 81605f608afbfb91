/** Cutting stored payloads by record, without decoding: for starts, ends and filters that fall inside a frame. */
import { MalformedError, WireCursor } from "./wire.ts";

/** Which records of a payload are wanted. */
export interface Selection {
  /** The first offset that is wanted. */
  readonly fromOffset: bigint;
  /** The offset before which to stop; undefined for none. */
  readonly untilOffset: bigint | undefined;
  /** At most so many bytes. */
  readonly bytesMax: number;
  /** Whether the first record is taken even if it is larger than that. */
  readonly alwaysOne: boolean;
  /** At most so many records. */
  readonly countMax: number;
  /** Only records whose key begins with this; empty for all. */
  readonly keyPrefix: Uint8Array;
}

/** What was cut out. */
export interface SelectedRecords {
  /** Views of the payload: put end to end they are again the encoding of a `records` field. */
  readonly pieces: Buffer[];
  readonly bytes: number;
  readonly count: number;
  /** The offset behind the last record that was looked at. */
  readonly nextOffset: bigint;
}

/** Cuts the wanted records out of a frame's payload, whose first record has `firstOffset`. */
export function selectRecords(payload: Buffer, firstOffset: bigint, selection: Selection): SelectedRecords {
  const { bytesMax, countMax, keyPrefix } = selection;
  const cursor = new WireCursor(payload);
  const from = Number(selection.fromOffset - firstOffset);
  const until = selection.untilOffset === undefined ? Infinity : Number(selection.untilOffset - firstOffset);
  const pieces: Buffer[] = [];
  let index = 0;
  let bytes = 0;
  let count = 0;
  let pieceStart = -1;
  let pieceEnd = -1;
  while (cursor.position < payload.length && index < until) {
    const start = cursor.position;
    cursor.position = start + 1;
    const length = cursor.readLength();
    const bodyStart = cursor.position;
    const end = bodyStart + length;
    if (index >= from && (keyPrefix.length === 0 || keyBeginsWith(payload, bodyStart, end, keyPrefix))) {
      const fits = bytes + end - start <= bytesMax || (count === 0 && selection.alwaysOne);
      if (count >= countMax || !fits) break;
      if (start !== pieceEnd) {
        if (pieceStart >= 0) pieces.push(payload.subarray(pieceStart, pieceEnd));
        pieceStart = start;
      }
      pieceEnd = end;
      bytes += end - start;
      count++;
    }
    cursor.position = end;
    index++;
  }
  if (pieceStart >= 0) pieces.push(payload.subarray(pieceStart, pieceEnd));
  return { pieces, bytes, count, nextOffset: firstOffset + BigInt(index) };
}

/**
 * Walks a payload whose first record should have `firstOffset`, up to its end or the first thing that is no record of
 * the vault's, and tells what that is, how many records are before it and how many bytes they take. `stamp`: where given, the `timestamp` field that each record must have.
 */
export function walkRecords(
  payload: Buffer,
  firstOffset: bigint,
  stamp?: Buffer,
): { count: number; bytes: number; problem: string | undefined } {
  const cursor = new WireCursor(payload);
  let offset = firstOffset;
  let bytes = 0;
  const stop = (problem?: string) => ({ count: Number(offset - firstOffset), bytes, problem });
  try {
    for (; cursor.position < payload.length; offset++) {
      if (payload[cursor.position++] !== 0x0a) return stop(`record ${offset} does not begin as one`);
      const end = cursor.readLength() + cursor.position;
      const hasOffset = payload[cursor.position] === 0x08 && cursor.position++ < end;
      const found = hasOffset ? cursor.readVarint64() : 0n;
      if (found !== offset) return stop(`record ${offset} says that it is ${found}`);
      if (stamp !== undefined && !stamp.equals(payload.subarray(cursor.position, cursor.position + stamp.length))) {
        return stop(`record ${offset} has another timestamp than its frame`);
      }
      cursor.position = end;
      bytes = end;
    }
  } catch (error) {
    if (error instanceof MalformedError) return stop(`record ${offset} is malformed: ${error.message}`);
    throw error;
  }
  return stop();
}

/** Whether the key of the record at [start, end) begins with `prefix`. Where a key comes twice the last one counts. */
function keyBeginsWith(payload: Buffer, start: number, end: number, prefix: Uint8Array): boolean {
  const cursor = new WireCursor(payload, start, end);
  let matches = false;
  while (cursor.position < end) {
    const tag = cursor.readVarint();
    if (tag === 0x1a) {
      const length = cursor.readLength();
      matches =
        length >= prefix.length &&
        payload.compare(prefix, 0, prefix.length, cursor.position, cursor.position + prefix.length) === 0;
      cursor.position += length;
    } else {
      cursor.skip(tag & 7);
    }
  }
  return matches;
}
