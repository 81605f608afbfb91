/**
 * The log of one stream, open for writing under one fence.
 *
 * Invariants: the last segment's sequence number was raised to the fence's epoch before its end was read, so no older
 * leader's write can come in between; `nextOffset`, `lastTimestamp` and `producers` are those of acknowledged frames,
 * but for the commit under way; all segments but the last are sealed. After an error that leaves open what was written
 * (see `GroupCommit`) the log is dropped and opened again: opening is the one way to learn what storage holds.
 */
import { type Fence, writeBytesMax, pageBytes } from "../blob/blob-store.ts";
import { isKind, VaultError } from "../errors.ts";
import { type Commit, CommitBuilder } from "../segment/commit.ts";
import { headerBytes } from "../segment/format.ts";
import { type CheckpointFrame, OffsetIndex } from "../segment/offset-index.ts";
import type { ProducerTable } from "../segment/producers.ts";
import type { ReadableSegment } from "../segment/reader.ts";
import type { Damage, RecoveredSegment } from "../segment/recovery.ts";
import { SegmentWriter } from "../segment/writer.ts";
import type { StreamSettings } from "./commands.ts";
import type { Engine } from "./engine.ts";
import type { ReadableLog } from "./log-reader.ts";
import { indexBlob, keptFrom, type ListedSegment, segmentBlob } from "./segment-list.ts";
import { SegmentTimes } from "./segment-times.ts";

/** What a log begins with. */
export interface OpenedLog {
  readonly fence: Fence;
  readonly incarnation: string;
  readonly seed: number;
  readonly prefix: string;
  /** The sealed segments, in order. */
  readonly sealed: ListedSegment[];
  readonly writer: SegmentWriter;
  readonly recovered: Pick<RecoveredSegment, "nextOffset" | "lastTimestamp" | "producers" | "damages" | "lastFrame">;
}

/** A stream's log. */
export class StreamLog implements ReadableLog {
  readonly fence: Fence;
  readonly incarnation: string;
  readonly seed: number;
  readonly times = new SegmentTimes();
  readonly producers: ProducerTable;
  readonly damages: readonly Damage[];
  private readonly engine: Engine;
  private readonly prefix: string;
  private sealedSegments: ListedSegment[];
  private segment: SegmentWriter;
  private next: bigint;
  private timestamp: number;
  private lastFrame: CheckpointFrame | undefined;
  private indexPuts: Promise<void> = Promise.resolve();
  private indexPutsUnderWay = 0;

  constructor(engine: Engine, opened: OpenedLog) {
    this.engine = engine;
    this.fence = opened.fence;
    this.incarnation = opened.incarnation;
    this.seed = opened.seed;
    this.prefix = opened.prefix;
    this.sealedSegments = opened.sealed;
    this.segment = opened.writer;
    this.producers = opened.recovered.producers;
    this.damages = opened.recovered.damages;
    this.next = opened.recovered.nextOffset;
    this.timestamp = opened.recovered.lastTimestamp;
    this.lastFrame = opened.recovered.lastFrame;
  }

  /** The offset behind the last acknowledged record. */
  get nextOffset(): bigint {
    return this.next;
  }

  /** The timestamp of the last acknowledged frame in milliseconds since 1970; 0 while there is none. */
  get lastTimestamp(): number {
    return this.timestamp;
  }

  /** The segment that is written to. */
  get writer(): SegmentWriter {
    return this.segment;
  }

  /** The sealed segments, in order. */
  get sealed(): readonly ListedSegment[] {
    return this.sealedSegments;
  }

  /** The segment that is written to, for reading. */
  get openSegment(): ReadableSegment {
    const { identity, index, position } = this.segment;
    return { blob: identity.blob, firstOffset: identity.firstOffset, index, endPosition: position, open: true };
  }

  /**
   * Begins a commit at the end, or behind `after`, which is under way. `contentBytes`: what its frames take at the most.
   * Timestamps never go back, neither behind the last record's nor behind a time that a leader has proven: that it may
   * have told subscribers.
   */
  beginCommit(contentBytes: number, after?: Commit): CommitBuilder {
    const { provenAt = 0 } = this.fence;
    const last = after?.timestamp ?? this.timestamp;
    return this.buildCommit(contentBytes, Math.max(this.engine.clock.now(), last, provenAt), after);
  }

  /** Writes a commit, whose producers are in the table already. It is acknowledged when this resolves. */
  async append(commit: Commit): Promise<void> {
    await this.segment.write(commit);
    this.next = commit.nextOffset;
    this.timestamp = commit.timestamp;
    this.lastFrame = commit.frames.at(-1);
    if (this.segment.checkpointDue) this.checkpoint();
  }

  /** Asks storage whether the open segment is as this log left it. Throws `fenced` where somebody else changed it. */
  async assertCurrent(): Promise<void> {
    const { identity, version } = this.segment;
    const properties = await this.engine.store.properties(identity.blob);
    if (properties?.etag === version) return;
    throw new VaultError("fenced", `another leader has written to ${identity.blob}`);
  }

  /**
   * Whether a commit of `contentBytes` must go to a new segment, or the open one has grown too old. The size that counts
   * is the one that it was made with. `position`: where the commit would begin.
   */
  rollDue(contentBytes: number, settings: StreamSettings, position = this.segment.position): boolean {
    const { firstTimestamp, identity } = this.segment;
    if (position === 0) return false;
    const full = position + contentBytes + headerBytes > identity.sizeBytes - reserveBytes;
    const aged = firstTimestamp !== undefined && this.engine.clock.now() - firstTimestamp >= settings.segmentAgeMs;
    return full || aged;
  }

  /** Seals the open segment and begins the next. */
  async roll(settings: StreamSettings): Promise<void> {
    const sealed = this.segment;
    const last = await this.seal(false);
    const created = await createNextSegment(this.engine, this.fence, this.prefix, this.next, settings);
    await checkStillSealed(this.engine, sealed, created);
    this.putIndex(sealed, sealed.takeCheckpoint(last, this.timestamp, this.producers, true));
    this.sealedSegments = [...this.sealedSegments, listed(sealed)];
    this.segment = emptyWriter(this.engine, this, this.prefix, created, settings);
    this.lastFrame = undefined;
  }

  /**
   * Writes the seal that ends the open segment, and the stream with it if `endOfStream`. It has the last record's
   * timestamp, so that the last frame's is always that of a record.
   */
  async seal(endOfStream: boolean): Promise<CheckpointFrame> {
    // An index that came after the deletion would stay for ever.
    if (endOfStream) await this.indexPuts;
    const builder = this.buildCommit(headerBytes, this.timestamp);
    builder.seal(endOfStream);
    const commit = builder.finish();
    await this.segment.write(commit);
    // Until the next segment is there, nothing may be checkpointed: only an index that says so may name a seal.
    this.lastFrame = undefined;
    return commit.frames.at(-1)!;
  }

  /** Forgets segments that were trimmed: those wholly before `offset`. They are gone, or will be soon. */
  forgetBefore(offset: bigint): void {
    this.sealedSegments = keptFrom(this.sealedSegments, this.segment.identity, offset);
  }

  /**
   * Writes a checkpoint of the open segment, unless one is under way or nothing has come since the last. Not while a
   * commit is under way: `producers` has it already.
   */
  checkpoint(): void {
    const { segment, lastFrame, timestamp } = this;
    if (this.indexPutsUnderWay > 0 || lastFrame === undefined || !segment.checkpointBehind) return;
    this.putIndex(segment, segment.takeCheckpoint(lastFrame, timestamp, this.producers, false));
  }

  /** Sees to it that the open segment has a checkpoint, though it be empty: then nothing before it is needed any more. */
  async ensureCheckpoint(): Promise<void> {
    await this.indexPuts;
    const { segment, lastFrame, timestamp } = this;
    if ((await this.engine.store.properties(segment.identity.indexBlob)) !== undefined) return;
    this.putIndex(segment, segment.takeCheckpoint(lastFrame, timestamp, this.producers, false));
    await this.indexPuts;
  }

  /** Writes what is not yet checkpointed. The log must not be used after it. */
  async close(): Promise<void> {
    await this.indexPuts;
    this.checkpoint();
    await this.indexPuts;
  }

  private buildCommit(contentBytes: number, timestamp: number, after?: Commit): CommitBuilder {
    const start = this.segment.commitStart(after?.nextOffset ?? this.next, timestamp, after);
    return new CommitBuilder(start, contentBytes, this.engine.settings.frameBytes);
  }

  /** Commits do not wait for indexes. Puts follow each other; one that fails costs a longer recovery, nothing else. */
  private putIndex(segment: SegmentWriter, bytes: Buffer): void {
    const { indexBlob: blob } = segment.identity;
    this.indexPutsUnderWay++;
    this.indexPuts = this.indexPuts.then(async () => {
      try {
        await this.engine.store.put(blob, bytes, "always");
      } catch (error) {
        this.engine.log.warn("index not written", { blob, error });
      } finally {
        this.indexPutsUnderWay--;
      }
    });
  }
}

/** A segment's page blob is larger than `segmentBytes` by this: an empty segment takes a largest commit and a seal. */
const reserveBytes = writeBytesMax + pageBytes;

/** How large a segment's page blob is made. */
export function segmentBlobBytes(settings: StreamSettings): number {
  return settings.segmentBytes + reserveBytes;
}

/** A page blob that was just created. */
export interface CreatedSegment {
  readonly firstOffset: bigint;
  readonly blob: string;
  readonly etag: string;
}

/** Creates the page blob of the segment that begins with `firstOffset`. Throws `alreadyExists`. */
export async function createNextSegment(
  engine: Engine,
  fence: Fence,
  prefix: string,
  firstOffset: bigint,
  settings: StreamSettings,
): Promise<CreatedSegment> {
  const blob = segmentBlob(prefix, firstOffset);
  const etag = await engine.store.createPages(blob, segmentBlobBytes(settings), fence);
  return { firstOffset, blob, etag };
}

/**
 * Checks that the sealed segment still has the version that the seal returned. If not, another leader has been here,
 * and the create may have come so late that the segment had been made, filled, trimmed and deleted in the meantime.
 */
export async function checkStillSealed(engine: Engine, sealed: SegmentWriter, created: CreatedSegment): Promise<void> {
  const properties = await engine.store.properties(sealed.identity.blob);
  if (properties?.etag === sealed.version) return;
  await engine.store.remove(created.blob, created.etag).catch((error: unknown) => {
    if (!isKind(error, "conflict")) throw error;
  });
  throw new VaultError("fenced", `another leader has written to ${sealed.identity.blob}`);
}

/** A writer for a segment that holds nothing yet. */
export function emptyWriter(
  engine: Engine,
  log: { fence: Fence; incarnation: string; seed: number; producers: ProducerTable; lastTimestamp: number },
  prefix: string,
  created: CreatedSegment,
  settings: StreamSettings,
): SegmentWriter {
  const { firstOffset, blob, etag } = created;
  const identity = {
    store: engine.store,
    fence: log.fence,
    incarnation: log.incarnation,
    seed: log.seed,
    blob,
    indexBlob: indexBlob(prefix, firstOffset),
    firstOffset,
    sizeBytes: segmentBlobBytes(settings),
  };
  return new SegmentWriter(identity, etag, {
    endPosition: 0,
    nextOffset: firstOffset,
    lastTimestamp: log.lastTimestamp,
    lastEpoch: 0,
    sealed: false,
    endOfStream: false,
    index: new OffsetIndex(),
    producers: log.producers,
    damages: [],
    dirty: false,
    tailPage: Buffer.alloc(0),
    lastFrame: undefined,
    checkpointPosition: 0,
  });
}

function listed(writer: SegmentWriter): ListedSegment {
  const { firstOffset, blob, indexBlob: index } = writer.identity;
  return { firstOffset, blob, indexBlob: index, indexed: true };
}
