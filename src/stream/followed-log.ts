/**
 * The log of one stream as a node reads it that does not write it: from storage, behind whoever writes.
 *
 * Invariants: what lies before `state.position` are whole valid frames that follow each other, all the way from the
 * stream's start, but for damage; such a frame is durable and stays, so it may be shown. A ranged read is no snapshot: a
 * frame that is not whole means "not yet", unless it is known to have been acknowledged, or it is bad at two looks under
 * one version of the segment and something valid follows. At most one `readOn` is under way.
 */
import { writeBytesMax } from "../blob/blob-store.ts";
import { isKind } from "../errors.ts";
import { type Frame, frameFlags, headerBytes, incarnationSeed, parseFrame, peekFrameBytes } from "../segment/format.ts";
import { decodeCheckpoint, OffsetIndex } from "../segment/offset-index.ts";
import { noProducers, ProducerTable } from "../segment/producers.ts";
import type { ReadableSegment, SealedSegment } from "../segment/reader.ts";
import { isZero, judgeStop, trustCheckpoint } from "../segment/recovery.ts";
import { advance, follows, mayContinue, type ScanState, scanStart, type SegmentSource } from "../segment/scan.ts";
import type { Engine } from "./engine.ts";
import { type ReadableLog, sealedSegment } from "./log-reader.ts";
import { segmentPrefix, type StreamMetadata } from "./metadata.ts";
import { keptFrom, listedSegment, type ListedSegment, listSegments } from "./segment-list.ts";
import { SegmentTimes } from "./segment-times.ts";
import type { StreamEnd } from "./stream-end.ts";
import type { FrameRun } from "./tail-cache.ts";

/** How much is read where it is not known how much there is; doubled while there is more. */
const lookBytes = 64 * 1024;

/** A frame that is not whole is looked at again at once while its segment changes, at most so often. */
const looksMax = 4;

/** Where a log stands that is followed. */
interface Standing {
  readonly sealed: readonly ListedSegment[];
  readonly open: ListedSegment;
  readonly index: OffsetIndex;
  readonly state: ScanState;
  readonly endOfStream: boolean;
}

/** Where a frame is that is not whole, and the version of the segment that it was seen in. */
interface Suspect {
  readonly position: number;
  readonly etag: string;
}

/** A stream's log, followed. */
export class FollowedLog implements ReadableLog {
  readonly incarnation: string;
  readonly seed: number;
  readonly times = new SegmentTimes();
  private readonly engine: Engine;
  private readonly prefix: string;
  private sealedSegments: readonly ListedSegment[];
  private segment: ListedSegment;
  private index: OffsetIndex;
  private state: ScanState;
  /** What was judged already, and is no damage as far as can be told. */
  private judged: Suspect | undefined;
  private deleted: boolean;

  constructor(engine: Engine, name: string, incarnation: string, standing: Standing) {
    this.engine = engine;
    this.incarnation = incarnation;
    this.seed = incarnationSeed(incarnation);
    this.prefix = segmentPrefix(name, incarnation);
    this.sealedSegments = standing.sealed;
    this.segment = standing.open;
    this.index = standing.index;
    this.state = standing.state;
    this.deleted = standing.endOfStream;
  }

  /** The offset behind the last record that was found. */
  get nextOffset(): bigint {
    return this.state.nextOffset;
  }

  /** The timestamp of the last frame that was found in milliseconds since 1970; 0 while there is none. */
  get lastTimestamp(): number {
    return this.state.timestamp;
  }

  /** The segments before the last one that is known, in order. */
  get sealed(): readonly ListedSegment[] {
    return this.sealedSegments;
  }

  /** The last segment that is known, as far as it is. It may not be there yet. */
  get openSegment(): ReadableSegment {
    const { blob, firstOffset } = this.segment;
    return { blob, firstOffset, index: this.index, endPosition: this.state.position, open: true };
  }

  /** Whether something of the last segment was read: then it is, or was, there. */
  get begun(): boolean {
    return this.state.position > 0;
  }

  /** Whether a seal says that the stream was deleted. */
  get endOfStream(): boolean {
    return this.deleted;
  }

  /** Forgets segments that were deleted: those wholly before `offset`. */
  forgetBefore(offset: bigint): void {
    this.sealedSegments = keptFrom(this.sealedSegments, this.segment, offset);
  }

  /**
   * Reads on, and yields the frames that hold records: to `known`, an end of which the leader told, or, where `whole` or
   * none is known, to where storage ends. Throws `notFound` where the segment is not there: not yet, or no more.
   */
  async *readOn(known: StreamEnd | undefined, whole: boolean): AsyncGenerator<FrameRun> {
    let lookLength = lookBytes;
    const target = whole ? undefined : known?.nextOffset;
    for (let looks = 0; !this.isBehind(target);) {
      if (this.state.sealed) this.goTo(this.state.nextOffset);
      const start = this.state.position;
      const toEnd = whole ? undefined : this.bytesTo(known);
      const length = Math.min(toEnd ?? lookLength, writeBytesMax);
      const { bytes, etag } = await this.engine.store.read(this.segment.blob, start, length);
      const records = this.takeFrames(bytes, start).filter((frame) => frame.recordCount > 0);
      const taken = this.state.position - start;
      if (records.length > 0) yield { position: start, endPosition: this.state.position, bytes, frames: records };
      if (taken > 0) looks = 0;
      if (this.state.sealed) continue;
      const more = taken === length || (bytes.length === length && mayContinue(bytes, taken));
      if (more && (taken > 0 || (toEnd === undefined && length < writeBytesMax))) {
        lookLength = Math.max(peekFrameBytes(bytes, taken) ?? 0, 2 * length);
        continue;
      }
      const verdict = await this.judge(bytes.subarray(taken), etag, known);
      if (verdict === "end" || (verdict === "again" && ++looks === looksMax)) return;
    }
  }

  /** Whether everything before `offset` was read, or, where that is undefined, whether nothing can come any more. */
  private isBehind(offset: bigint | undefined): boolean {
    return this.deleted || (offset !== undefined && this.nextOffset >= offset);
  }

  private takeFrames(bytes: Buffer, start: number): Frame[] {
    const { state, index, seed } = this;
    const frames: Frame[] = [];
    while (!state.sealed) {
      const frame = parseFrame(bytes, state.position - start, state.position, seed);
      if (frame === undefined || !follows(frame, state)) break;
      advance(state, frame);
      index.add(frame);
      frames.push(frame);
      if ((frame.flags & frameFlags.endOfStream) !== 0) this.deleted = true;
    }
    return frames;
  }

  /** How many bytes lie before the end that the leader told of; undefined where that does not say. */
  private bytesTo(known: StreamEnd | undefined): number | undefined {
    if (known === undefined || known.segmentFirstOffset !== this.segment.firstOffset) return undefined;
    const bytes = known.position - this.state.position;
    return bytes > 0 ? bytes : undefined;
  }

  /** Goes to the segment that begins with `firstOffset`: what is before it is sealed. */
  private goTo(firstOffset: bigint): void {
    const { segment, index, state } = this;
    const { blob } = segment;
    const { position: endPosition, timestamp: lastTimestamp } = state;
    const sealed: SealedSegment = {
      blob,
      firstOffset: segment.firstOffset,
      index,
      endPosition,
      lastTimestamp,
      nextOffset: firstOffset,
      open: false,
    };
    keepSealed(this.engine, sealed);
    this.sealedSegments = [...this.sealedSegments, segment];
    this.segment = listedSegment(this.prefix, firstOffset);
    this.index = new OffsetIndex();
    this.state = { ...scanStart(firstOffset, lastTimestamp), epoch: state.epoch };
    this.judged = undefined;
  }

  /**
   * What it means that the bytes at the position are no frame that follows: the log ends there for now; or it goes on,
   * behind damage or in a later segment; or it has to be looked at again, as the segment has changed.
   */
  private async judge(rest: Buffer, etag: string, known: StreamEnd | undefined): Promise<"end" | "on" | "again"> {
    const acknowledged = this.acknowledgedBy(known);
    const { position } = this.state;
    if (acknowledged === undefined && isZero(rest, 0, rest.length)) return "end";
    const { store } = this.engine;
    const again = await store.read(this.segment.blob, position, Math.max(rest.length, headerBytes));
    // What is acknowledged does not change any more, though its segment may.
    const lasting = typeof acknowledged === "object" ? acknowledged.endPosition - position : rest.length;
    if (!again.bytes.subarray(0, Math.min(lasting, rest.length)).equals(rest.subarray(0, lasting))) return "again";
    if (acknowledged === undefined) {
      if (again.etag !== etag) return "again";
      if (this.judged?.position === position && this.judged.etag === etag) return "end";
    }
    const source: SegmentSource = { store, blob: this.segment.blob, seed: this.seed };
    const stop = await judgeStop(source, this.state, acknowledged === "all" ? undefined : acknowledged);
    if (acknowledged === undefined) {
      // What was judged may have been written meanwhile.
      const { etag: now } = await store.read(this.segment.blob, position, headerBytes);
      if (now !== etag) return "again";
    }
    if (stop.kind === "damage" && (stop.acknowledged || acknowledged !== undefined)) {
      this.passDamage(stop.resume);
      return "on";
    }
    const later = await this.laterSegment(known);
    if (later !== undefined) {
      this.passDamage({ ...this.state, nextOffset: later });
      this.goTo(later);
      return "on";
    }
    this.judged = { position, etag };
    return "end";
  }

  /** What the leader's word says of the place where the log stands: that this, or all of its segment, is acknowledged. */
  private acknowledgedBy(known: StreamEnd | undefined) {
    if (known === undefined || known.nextOffset <= this.state.nextOffset) return undefined;
    if (known.segmentFirstOffset > this.segment.firstOffset) return "all";
    if (known.segmentFirstOffset < this.segment.firstOffset || known.position <= this.state.position) return undefined;
    const { position: endPosition, nextOffset, timestamp } = known;
    return { endPosition, nextOffset, lastTimestamp: timestamp ?? this.state.timestamp, sealed: false };
  }

  private passDamage(resume: ScanState): void {
    const { position, nextOffset } = this.state;
    const damage = { blob: this.segment.blob, position, endPosition: resume.position, offset: String(nextOffset) };
    this.engine.log.error("storage is damaged", damage);
    this.state = { ...resume };
  }

  /** The first offset of the segment behind this one, if there is one: then this one's seal is damaged. */
  private async laterSegment(known: StreamEnd | undefined): Promise<bigint | undefined> {
    const { firstOffset } = this.segment;
    const listed = await listSegments(this.engine.store, this.prefix);
    const later = listed.find((candidate) => candidate.firstOffset > firstOffset)?.firstOffset;
    if (later !== undefined) return later;
    return known !== undefined && known.segmentFirstOffset > firstOffset ? known.segmentFirstOffset : undefined;
  }
}

/**
 * Opens a stream's log to follow it: as far as the last segment's checkpoint, from where `readOn` goes on. Throws what
 * storage throws.
 */
export async function openFollowedLog(engine: Engine, name: string, metadata: StreamMetadata): Promise<FollowedLog> {
  const { incarnation, startOffset } = metadata;
  const prefix = segmentPrefix(name, incarnation);
  const segments = await listSegments(engine.store, prefix);
  const open = segments.at(-1) ?? listedSegment(prefix, startOffset);
  const sealed = segments.slice(0, -1);
  const { index, state, endOfStream } = await readCheckpoint(engine, incarnation, open);
  const log = new FollowedLog(engine, name, incarnation, { sealed, open, index, state, endOfStream });
  const previous = sealed.at(-1);
  // Until the segment has a frame, the last timestamp is that of the one before.
  if (previous !== undefined && state.position === 0) {
    state.timestamp = Math.max(state.timestamp, (await sealedSegment(engine, log, previous)).lastTimestamp);
  }
  return log;
}

async function readCheckpoint(engine: Engine, incarnation: string, segment: ListedSegment) {
  const { store } = engine;
  const { firstOffset, blob } = segment;
  const stored = segment.indexed ? await store.get(segment.indexBlob) : undefined;
  const checkpoint = stored && decodeCheckpoint(stored.bytes, incarnation, firstOffset, noProducers);
  const source = { store, blob, seed: incarnationSeed(incarnation) };
  const base = { firstOffset, timestamp: 0, producers: new ProducerTable(noProducers) };
  const trusted = checkpoint && (await trustCheckpoint(source, base, checkpoint).catch(ifGone));
  if (trusted === undefined) return { index: new OffsetIndex(), state: scanStart(firstOffset, 0), endOfStream: false };
  return { index: trusted.found.index, state: trusted.state, endOfStream: trusted.found.endOfStream };
}

function ifGone(error: unknown): undefined {
  if (!isKind(error, "notFound")) throw error;
}

/** Those who read the sealed segment need not wait for its index blob, which comes a little later. */
function keepSealed(engine: Engine, segment: SealedSegment): void {
  const bytes = segment.index.memoryBytes;
  void engine.caches.indexes.get(segment.blob, async () => ({ value: segment, bytes }));
}
