/**
 * Building a commit: one write of whole pages, from the page that holds the segment's end to the page that holds the
 * new one.
 *
 * Invariants: the first page's leading bytes are those that storage holds already; what lies behind the new end is
 * zero; the records of one batch are in one frame; a frame is closed once it has `frameBytes` or more; all frames of a
 * commit share its timestamp.
 */
import assert from "node:assert";
import { pageBytes, writeBytesMax } from "../blob/blob-store.ts";
import type { RecordBatch } from "./batch.ts";
import {
  type Frame,
  type ProducerEntry,
  frameFlags,
  headerBytes,
  producerEntryBytes,
  writeHeader,
  writeProducerEntry,
} from "./format.ts";
import { varintBytes, writeVarint } from "./wire.ts";

/** The most that a batch may take as it is stored: one commit, less a page for what leads and a frame's header. */
export const batchBytesMax = writeBytesMax - pageBytes - headerBytes - producerEntryBytes("") - 128;

/** Where a commit begins and what all its frames share. */
export interface CommitStart {
  /** The segment's end: where the first frame goes. */
  readonly position: number;
  /** What stands in the end's page before the end: `position % pageBytes` bytes. */
  readonly leading: Buffer;
  readonly firstOffset: bigint;
  /** Milliseconds since 1970. */
  readonly timestamp: number;
  readonly epoch: number;
  readonly seed: number;
}

/** A commit, ready to be written. */
export interface Commit {
  /** Where `bytes` go: a multiple of a page. */
  readonly writePosition: number;
  readonly bytes: Buffer;
  readonly position: number;
  readonly endPosition: number;
  readonly firstOffset: bigint;
  readonly nextOffset: bigint;
  readonly timestamp: number;
  /** The frames; payloads are views of `bytes`. */
  readonly frames: readonly Frame[];
}

interface OpenFrame {
  start: number;
  firstOffset: number;
  producers: ProducerEntry[];
  producerBytes: number;
}

/** Builds one commit. */
export class CommitBuilder {
  private readonly start: CommitStart;
  private readonly frameBytes: number;
  private readonly base: number;
  private readonly stamp: Buffer;
  private readonly frames: Frame[] = [];
  private readonly buffer: Buffer;
  private frame: OpenFrame | undefined;
  private at: number;
  private offset: number;

  /** `contentBytes`: what all frames together take at the most. `frameBytes`: the size at which a frame is closed. */
  constructor(start: CommitStart, contentBytes: number, frameBytes: number) {
    const pages = Math.ceil((start.leading.length + contentBytes) / pageBytes);
    this.start = start;
    this.frameBytes = frameBytes;
    this.base = start.position - start.leading.length;
    this.stamp = encodeTimestampField(start.timestamp);
    this.buffer = Buffer.allocUnsafeSlow(pages * pageBytes);
    this.at = start.leading.copy(this.buffer);
    this.offset = Number(start.firstOffset);
    assert(this.base % pageBytes === 0 && Number.isSafeInteger(this.offset));
  }

  /** The offset that the next record gets. */
  get nextOffset(): bigint {
    return BigInt(this.offset);
  }

  /** The timestamp that the records get, in milliseconds since 1970. */
  get timestamp(): number {
    return this.start.timestamp;
  }

  /** Appends a batch. */
  add(batch: RecordBatch, producer?: { readonly id: string; readonly sequence: bigint }): void {
    const frame = this.openFrame();
    if (producer !== undefined) {
      const { count, checksum } = batch;
      frame.producers.push({ ...producer, firstOffset: this.nextOffset, count, checksum });
      frame.producerBytes += producerEntryBytes(producer.id);
    }
    this.writeRecords(batch);
    if (this.at - frame.start + frame.producerBytes >= this.frameBytes) this.closeFrame();
  }

  /** Ends the segment with a seal; `endOfStream` says that nothing follows at all. */
  seal(endOfStream: boolean): void {
    this.closeFrame();
    const position = this.base + this.at;
    this.writeFrame(
      this.at,
      position,
      [],
      0,
      frameFlags.seal | (endOfStream ? frameFlags.endOfStream : 0),
      this.offset,
    );
  }

  /** The commit. */
  finish(): Commit {
    this.closeFrame();
    const { start, at, base, frames, nextOffset } = this;
    const end = Math.ceil(at / pageBytes) * pageBytes;
    assert(frames.length > 0 && end <= writeBytesMax && end <= this.buffer.length);
    this.buffer.fill(0, at, end);
    return {
      writePosition: base,
      bytes: this.buffer.subarray(0, end),
      position: start.position,
      endPosition: base + at,
      firstOffset: start.firstOffset,
      nextOffset,
      timestamp: start.timestamp,
      frames,
    };
  }

  private openFrame(): OpenFrame {
    if (this.frame === undefined) {
      this.frame = { start: this.at, firstOffset: this.offset, producers: [], producerBytes: 0 };
      this.at += headerBytes;
    }
    return this.frame;
  }

  private closeFrame(): void {
    const frame = this.frame;
    if (frame === undefined) return;
    this.frame = undefined;
    const payloadBytes = this.at - frame.start - headerBytes;
    this.writeFrame(
      frame.start,
      this.base + frame.start,
      frame.producers,
      payloadBytes,
      frameFlags.data,
      frame.firstOffset,
    );
  }

  private writeFrame(
    at: number,
    position: number,
    producers: readonly ProducerEntry[],
    payloadBytes: number,
    flags: number,
    firstOffset: number,
  ): void {
    const sectionStart = at + headerBytes + payloadBytes;
    let end = sectionStart;
    for (const entry of producers) end = writeProducerEntry(this.buffer, end, entry);
    const header = {
      payloadBytes,
      producerBytes: end - sectionStart,
      recordCount: this.offset - firstOffset,
      flags,
      firstOffset: BigInt(firstOffset),
      timestamp: this.start.timestamp,
      epoch: this.start.epoch,
      commitPosition: this.start.position,
    };
    writeHeader(this.buffer, at, position, this.start.seed, header);
    this.at = end;
    this.frames.push({
      ...header,
      position,
      endPosition: this.base + end,
      nextOffset: this.nextOffset,
      payload: this.buffer.subarray(at + headerBytes, sectionStart),
      producerSection: this.buffer.subarray(sectionStart, end),
    });
  }

  /** The hot loop of publishing: tag, length, offset and timestamp, then the record's bytes as they came. */
  private writeRecords(batch: RecordBatch): void {
    const { buffer, stamp } = this;
    const { source, bounds } = batch;
    const stampBytes = stamp.length;
    let at = this.at;
    let offset = this.offset;
    let offsetBytes = 0;
    let offsetBytesUntil = offset;
    for (let i = 0; i < bounds.length; i += 2) {
      const start = bounds[i]!;
      const end = bounds[i + 1]!;
      if (offset >= offsetBytesUntil) {
        offsetBytes = offset === 0 ? 0 : 1 + varintBytes(offset);
        offsetBytesUntil = offset === 0 ? 1 : 0x80 ** (offsetBytes - 1);
      }
      buffer[at++] = 0x0a;
      at = writeVarint(buffer, at, offsetBytes + stampBytes + end - start);
      if (offset !== 0) {
        buffer[at++] = 0x08;
        at = writeVarint(buffer, at, offset);
      }
      for (let j = 0; j < stampBytes; j++) buffer[at++] = stamp[j]!;
      source.copy(buffer, at, start, end);
      at += end - start;
      offset++;
    }
    this.at = at;
    this.offset = offset;
  }
}

/**
 * A record's `timestamp` field as the canonical encoding has it: zero parts are left out. `timestamp`: milliseconds
 * since 1970.
 */
export function encodeTimestampField(timestamp: number): Buffer {
  const bytes = Buffer.alloc(16);
  const seconds = Math.floor(timestamp / 1000);
  const nanos = (timestamp % 1000) * 1_000_000;
  let at = 2;
  if (seconds > 0) {
    bytes[at++] = 0x08;
    at = writeVarint(bytes, at, seconds);
  }
  if (nanos > 0) {
    bytes[at++] = 0x10;
    at = writeVarint(bytes, at, nanos);
  }
  bytes[0] = 0x12;
  bytes[1] = at - 2;
  return bytes.subarray(0, at);
}
