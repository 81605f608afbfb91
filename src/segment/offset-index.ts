/**
 * The sparse index of a segment: where to begin to read for an offset or a timestamp, and what recovery starts from.
 *
 * The blob `FIRSTOFFSET.index`, little-endian:
 *
 * ```
 *   0  u32  magic and version: "MVI" and the byte 1
 *   4  u32  CRC-32 of the bytes from 8 to the end
 *   8  16   incarnation
 *  24  u64  first offset of the segment
 *  32  u64  end position: behind the frame that the last entry names
 *  40  u64  next offset there
 *  48  u64  last timestamp there, milliseconds since 1970
 *  56  u8   1 if that frame is a seal · 7 bytes 0
 *  64  u32  number of entries · u32 number of producers
 *  72       entries: u64 first offset · u64 timestamp · u64 position
 *           producers, the oldest first: u8 n · n bytes of id · u16 number of requests, then for each
 *             u64 sequence · u64 first offset · u64 timestamp · u32 record count · u32 CRC-32 of its records
 * ```
 */
import { crc32 } from "../crc32.ts";
import type { Frame } from "./format.ts";
import { type ProducerLimits, ProducerTable } from "./producers.ts";

/** How many bytes of frames lie between two entries, about. */
export const indexIntervalBytes = 64 * 1024;

/** Where a frame begins. */
export interface IndexEntry {
  readonly firstOffset: bigint;
  /** Milliseconds since 1970. */
  readonly timestamp: number;
  readonly position: number;
}

/** The index of one segment. Entries are in order; positions, offsets and timestamps never go back. */
export class OffsetIndex {
  readonly entries: IndexEntry[] = [];

  /** What it takes in memory, about, in bytes. */
  get memoryBytes(): number {
    return this.entries.length * 80 + 256;
  }

  /** Adds an entry for the frame if the last one is far enough behind, or if `always`. */
  add(frame: Pick<Frame, "firstOffset" | "timestamp" | "position">, always = false): void {
    const last = this.entries.at(-1);
    if (last !== undefined && frame.position <= last.position) return;
    if (!always && last !== undefined && frame.position - last.position < indexIntervalBytes) return;
    const { firstOffset, timestamp, position } = frame;
    this.entries.push({ firstOffset, timestamp, position });
  }

  /** The position of the last entry at or before `offset`; 0 where there is none. */
  positionOfOffset(offset: bigint): number {
    return this.entries[lastIndex(this.entries, (entry) => entry.firstOffset <= offset)]?.position ?? 0;
  }

  /**
   * The first offsets of the entries around `timestamp`: no frame before `before` is at or after that time, and all from
   * `after` on are.
   */
  offsetsAround(timestamp: number): { before: bigint | undefined; after: bigint | undefined } {
    const at = lastIndex(this.entries, (entry) => entry.timestamp < timestamp);
    return { before: this.entries[at]?.firstOffset, after: this.entries[at + 1]?.firstOffset };
  }

  /** The block that holds `position`: the run of entries in one `blockBytes` stretch; its end is undefined at the end. */
  blockAt(position: number, blockBytes: number): { start: number; end: number | undefined } {
    const at = lastIndex(this.entries, (entry) => entry.position <= position);
    const start = this.blockStart(at, blockBytes);
    const stretch = Math.floor((this.entries[start]?.position ?? 0) / blockBytes);
    const next = lastIndex(this.entries, (entry) => Math.floor(entry.position / blockBytes) <= stretch) + 1;
    return { start: this.entries[start]?.position ?? 0, end: this.entries[next]?.position };
  }

  private blockStart(at: number, blockBytes: number): number {
    const stretch = Math.floor((this.entries[at]?.position ?? 0) / blockBytes);
    return lastIndex(this.entries, (entry) => Math.floor(entry.position / blockBytes) < stretch) + 1;
  }
}

/** The frame that a checkpoint names. */
export interface CheckpointFrame {
  readonly position: number;
  readonly endPosition: number;
  readonly firstOffset: bigint;
  readonly nextOffset: bigint;
  readonly timestamp: number;
}

/** What an index blob holds beside its entries: the state of the stream as of the last entry's frame. */
export interface Checkpoint {
  readonly index: OffsetIndex;
  readonly endPosition: number;
  readonly nextOffset: bigint;
  readonly lastTimestamp: number;
  readonly sealed: boolean;
  readonly producers: ProducerTable;
}

const magic = 0x01_49_56_4d;
const fixedBytes = 72;

/** Encodes a checkpoint. Its index's last entry must name the last frame. */
export function encodeCheckpoint(incarnation: string, firstOffset: bigint, checkpoint: Checkpoint): Buffer {
  const { index, producers } = checkpoint;
  const bytes = Buffer.alloc(fixedBytes + index.entries.length * 24 + producersBytes(producers));
  bytes.writeUInt32LE(magic, 0);
  bytes.write(incarnation, 8, "hex");
  bytes.writeBigUInt64LE(firstOffset, 24);
  bytes.writeBigUInt64LE(BigInt(checkpoint.endPosition), 32);
  bytes.writeBigUInt64LE(checkpoint.nextOffset, 40);
  bytes.writeBigUInt64LE(BigInt(checkpoint.lastTimestamp), 48);
  bytes.writeUInt8(checkpoint.sealed ? 1 : 0, 56);
  bytes.writeUInt32LE(index.entries.length, 64);
  bytes.writeUInt32LE(producers.size, 68);
  let at = fixedBytes;
  for (const entry of index.entries) {
    bytes.writeBigUInt64LE(entry.firstOffset, at);
    bytes.writeBigUInt64LE(BigInt(entry.timestamp), at + 8);
    bytes.writeBigUInt64LE(BigInt(entry.position), at + 16);
    at += 24;
  }
  writeProducers(bytes, at, producers);
  bytes.writeUInt32LE(crc32(bytes.subarray(8)), 4);
  return bytes;
}

/** Decodes a checkpoint; undefined where the bytes are no valid one of this segment. */
export function decodeCheckpoint(
  bytes: Buffer,
  incarnation: string,
  firstOffset: bigint,
  limits: ProducerLimits,
): Checkpoint | undefined {
  if (bytes.length < fixedBytes || bytes.readUInt32LE(0) !== magic) return undefined;
  if (bytes.readUInt32LE(4) !== crc32(bytes.subarray(8))) return undefined;
  if (bytes.toString("hex", 8, 24) !== incarnation || bytes.readBigUInt64LE(24) !== firstOffset) return undefined;
  const index = new OffsetIndex();
  const count = bytes.readUInt32LE(64);
  for (let i = 0; i < count; i++) {
    const at = fixedBytes + i * 24;
    index.entries.push({
      firstOffset: bytes.readBigUInt64LE(at),
      timestamp: Number(bytes.readBigUInt64LE(at + 8)),
      position: Number(bytes.readBigUInt64LE(at + 16)),
    });
  }
  return {
    index,
    endPosition: Number(bytes.readBigUInt64LE(32)),
    nextOffset: bytes.readBigUInt64LE(40),
    lastTimestamp: Number(bytes.readBigUInt64LE(48)),
    sealed: bytes.readUInt8(56) === 1,
    producers: readProducers(bytes, fixedBytes + count * 24, bytes.readUInt32LE(68), limits),
  };
}

function producersBytes(producers: ProducerTable): number {
  let total = 0;
  for (const [id, requests] of producers.entries()) total += 3 + Buffer.byteLength(id) + requests.length * 32;
  return total;
}

function writeProducers(bytes: Buffer, start: number, producers: ProducerTable): void {
  let at = start;
  for (const [id, requests] of producers.entries()) {
    const idBytes = bytes.write(id, at + 1, "utf8");
    bytes.writeUInt8(idBytes, at);
    bytes.writeUInt16LE(requests.length, at + 1 + idBytes);
    at += 3 + idBytes;
    for (const request of requests) {
      bytes.writeBigUInt64LE(request.sequence, at);
      bytes.writeBigUInt64LE(request.firstOffset, at + 8);
      bytes.writeBigUInt64LE(BigInt(request.timestamp), at + 16);
      bytes.writeUInt32LE(request.count, at + 24);
      bytes.writeUInt32LE(request.checksum, at + 28);
      at += 32;
    }
  }
}

function readProducers(bytes: Buffer, start: number, count: number, limits: ProducerLimits): ProducerTable {
  const producers = new ProducerTable(limits);
  let at = start;
  for (let i = 0; i < count; i++) {
    const idBytes = bytes.readUInt8(at);
    const id = bytes.toString("utf8", at + 1, at + 1 + idBytes);
    const requests = bytes.readUInt16LE(at + 1 + idBytes);
    at += 3 + idBytes;
    for (let j = 0; j < requests; j++, at += 32) {
      producers.record(id, {
        sequence: bytes.readBigUInt64LE(at),
        firstOffset: bytes.readBigUInt64LE(at + 8),
        timestamp: Number(bytes.readBigUInt64LE(at + 16)),
        count: bytes.readUInt32LE(at + 24),
        checksum: bytes.readUInt32LE(at + 28),
      });
    }
  }
  return producers;
}

/** The last index whose entry holds, in a list where those that hold come first; −1 for none. */
function lastIndex(entries: readonly IndexEntry[], holds: (entry: IndexEntry) => boolean): number {
  let low = 0;
  let high = entries.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (holds(entries[middle]!)) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
