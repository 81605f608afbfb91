/**
 * The frame: what is stored is what is sent. All numbers are little-endian.
 *
 * ```
 *   0  u32  magic and version: "MVF" and the byte 1
 *   4  u32  CRC-32 of the bytes from 8 to the frame's end, seeded with incarnation and position
 *   8  u32  payload length
 *  12  u32  producer section length
 *  16  u32  record count
 *  20  u16  flags: 1 data, 2 seal, 4 end of stream
 *  22  u8   codec of the payload: 0 none (nothing else is written in this version)
 *  23  u8   0
 *  24  u64  first offset; in a seal, the next segment's first offset
 *  32  u64  append timestamp, milliseconds since 1970
 *  40  u64  epoch of the leader that wrote it
 *  48  u64  position of the first frame of its commit
 *  56  u32  length of the payload before the codec; 0 without one
 *  60  u32  0
 *  64       payload: the protobuf encoding of a SubscribeResponse's `records`
 *           producer section, for each request in the frame that named a producer:
 *             u64 sequence · u64 first offset · u32 record count · u32 CRC-32 of its records · u8 n · n bytes of id
 * ```
 *
 * The checksum's seed makes a frame valid in its own place only: bytes copied from elsewhere, or a payload that looks
 * like a frame, never pass.
 */
import { crc32 } from "../crc32.ts";
import { writeBytesMax } from "../blob/blob-store.ts";

/** The size of a frame's header in bytes. */
export const headerBytes = 64;

/** The most that a frame may take: it is written whole. */
export const frameBytesMax = writeBytesMax;

const magic = 0x01_46_56_4d;

/** A frame's flags. */
export const frameFlags = { data: 1, seal: 2, endOfStream: 4 } as const;

/** What a frame's header says, payload and producer section aside. */
export interface FrameHeader {
  readonly payloadBytes: number;
  readonly producerBytes: number;
  readonly recordCount: number;
  readonly flags: number;
  readonly firstOffset: bigint;
  /** Milliseconds since 1970. */
  readonly timestamp: number;
  readonly epoch: number;
  readonly commitPosition: number;
}

/** A frame that was checked, with its place in the segment. */
export interface Frame extends FrameHeader {
  readonly position: number;
  /** The position behind the frame. */
  readonly endPosition: number;
  readonly nextOffset: bigint;
  readonly payload: Buffer;
  readonly producerSection: Buffer;
}

/** One request of a frame that named its producer. */
export interface ProducerEntry {
  readonly id: string;
  readonly sequence: bigint;
  readonly firstOffset: bigint;
  readonly count: number;
  readonly checksum: number;
}

/** The part of the checksum's seed that is the same for a whole incarnation. `incarnation`: 32 hexadecimal digits. */
export function incarnationSeed(incarnation: string): number {
  return crc32(Buffer.from(incarnation, "hex"));
}

/** How long the frame at `at` says it is; undefined where the bytes there do not begin a frame. Not checked further. */
export function peekFrameBytes(bytes: Buffer, at: number): number | undefined {
  if (at + headerBytes > bytes.length || bytes.readUInt32LE(at) !== magic) return undefined;
  const length = headerBytes + bytes.readUInt32LE(at + 8) + bytes.readUInt32LE(at + 12);
  return length <= frameBytesMax ? length : undefined;
}

/** Whether the bytes at `at` begin with a frame's magic. */
export function hasMagic(bytes: Buffer, at: number): boolean {
  return at + 4 <= bytes.length && bytes.readUInt32LE(at) === magic;
}

/** The magic's bytes, to search for. */
export const magicBytes = Buffer.from([0x4d, 0x56, 0x46, 0x01]);

/**
 * Reads the frame at `at` in `bytes`, which stands at `position` in its segment; undefined if there is no whole valid
 * frame. Payload and producer section are views of `bytes`.
 */
export function parseFrame(bytes: Buffer, at: number, position: number, seed: number): Frame | undefined {
  const length = peekFrameBytes(bytes, at);
  if (length === undefined || at + length > bytes.length) return undefined;
  const checksum = crc32(bytes.subarray(at + 8, at + length), positionSeed(seed, position));
  if (bytes.readUInt32LE(at + 4) !== checksum) return undefined;
  const header = readHeader(bytes, at);
  if (bytes.readUInt16LE(at + 22) !== 0) return undefined;
  const payloadStart = at + headerBytes;
  const payloadEnd = payloadStart + header.payloadBytes;
  return {
    ...header,
    position,
    endPosition: position + length,
    nextOffset: header.firstOffset + BigInt(header.recordCount),
    payload: bytes.subarray(payloadStart, payloadEnd),
    producerSection: bytes.subarray(payloadEnd, at + length),
  };
}

/** Reads a header without checking it: for recovery, which judges what a damaged frame may have been. */
export function readHeader(bytes: Buffer, at: number): FrameHeader {
  return {
    payloadBytes: bytes.readUInt32LE(at + 8),
    producerBytes: bytes.readUInt32LE(at + 12),
    recordCount: bytes.readUInt32LE(at + 16),
    flags: bytes.readUInt16LE(at + 20),
    firstOffset: bytes.readBigUInt64LE(at + 24),
    timestamp: Number(bytes.readBigUInt64LE(at + 32)),
    epoch: Number(bytes.readBigUInt64LE(at + 40)),
    commitPosition: Number(bytes.readBigUInt64LE(at + 48)),
  };
}

/**
 * Writes the header of the frame at `at`, whose payload and producer section are in place behind it, checksum and all.
 * `position` is the frame's place in its segment.
 */
export function writeHeader(bytes: Buffer, at: number, position: number, seed: number, header: FrameHeader): void {
  bytes.writeUInt32LE(magic, at);
  bytes.writeUInt32LE(header.payloadBytes, at + 8);
  bytes.writeUInt32LE(header.producerBytes, at + 12);
  bytes.writeUInt32LE(header.recordCount, at + 16);
  bytes.writeUInt16LE(header.flags, at + 20);
  bytes.writeUInt16LE(0, at + 22);
  bytes.writeBigUInt64LE(header.firstOffset, at + 24);
  bytes.writeBigUInt64LE(BigInt(header.timestamp), at + 32);
  bytes.writeBigUInt64LE(BigInt(header.epoch), at + 40);
  bytes.writeBigUInt64LE(BigInt(header.commitPosition), at + 48);
  bytes.writeBigUInt64LE(0n, at + 56);
  const end = at + headerBytes + header.payloadBytes + header.producerBytes;
  bytes.writeUInt32LE(crc32(bytes.subarray(at + 8, end), positionSeed(seed, position)), at + 4);
}

/** How many bytes a producer's entry takes in a producer section. */
export function producerEntryBytes(id: string): number {
  return 25 + Buffer.byteLength(id);
}

/** Writes a producer's entry and returns the place behind it. */
export function writeProducerEntry(bytes: Buffer, at: number, entry: ProducerEntry): number {
  bytes.writeBigUInt64LE(entry.sequence, at);
  bytes.writeBigUInt64LE(entry.firstOffset, at + 8);
  bytes.writeUInt32LE(entry.count, at + 16);
  bytes.writeUInt32LE(entry.checksum, at + 20);
  const idBytes = bytes.write(entry.id, at + 25, "utf8");
  bytes.writeUInt8(idBytes, at + 24);
  return at + 25 + idBytes;
}

/** Reads a producer section. */
export function readProducerEntries(section: Buffer): ProducerEntry[] {
  const entries: ProducerEntry[] = [];
  for (let at = 0; at < section.length;) {
    const idBytes = section.readUInt8(at + 24);
    entries.push({
      sequence: section.readBigUInt64LE(at),
      firstOffset: section.readBigUInt64LE(at + 8),
      count: section.readUInt32LE(at + 16),
      checksum: section.readUInt32LE(at + 20),
      id: section.toString("utf8", at + 25, at + 25 + idBytes),
    });
    at += 25 + idBytes;
  }
  return entries;
}

function positionSeed(seed: number, position: number): number {
  const bytes = Buffer.allocUnsafe(8);
  bytes.writeBigUInt64LE(BigInt(position));
  return crc32(bytes, seed);
}
