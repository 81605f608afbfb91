/**
 * Writing one segment.
 *
 * Invariants: `position` is the acknowledged end; `etag` is what the last write returned; `tailPage` is what storage
 * holds between the start of the end's page and the end. At most one write is in flight. After a write that failed the
 * writer is not used again: the segment is recovered from storage.
 */
import assert from "node:assert";
import { type BlobStore, type Etag, type Fence, pageBytes } from "../blob/blob-store.ts";
import type { Commit, CommitStart } from "./commit.ts";
import { type CheckpointFrame, encodeCheckpoint, type OffsetIndex } from "./offset-index.ts";
import type { ProducerTable } from "./producers.ts";
import type { RecoveredSegment } from "./recovery.ts";

/** What a writer needs to know of its segment. */
export interface SegmentIdentity {
  readonly store: BlobStore;
  readonly fence: Fence;
  readonly incarnation: string;
  readonly seed: number;
  /** The page blob's name. */
  readonly blob: string;
  /** The index blob's name. */
  readonly indexBlob: string;
  readonly firstOffset: bigint;
  readonly sizeBytes: number;
}

/** How many bytes of frames lie between two checkpoints, at the least. */
export const checkpointIntervalBytes = 16 * 1024 * 1024;

/** A checkpoint with many producers is large: then it is written less often, so that it costs at most this share. */
const checkpointShare = 1 / 8;

/** The open segment of a stream. */
export class SegmentWriter {
  readonly identity: SegmentIdentity;
  readonly index: OffsetIndex;
  private etag: Etag;
  private end: number;
  private tailPage: Buffer;
  private firstFrameAt: number | undefined;
  private checkpointAt: number;
  private checkpointBytes = 0;

  constructor(identity: SegmentIdentity, etag: Etag, recovered: RecoveredSegment) {
    this.identity = identity;
    this.etag = etag;
    this.index = recovered.index;
    this.end = recovered.endPosition;
    this.tailPage = recovered.tailPage;
    this.firstFrameAt = recovered.index.entries[0]?.timestamp;
    this.checkpointAt = recovered.checkpointPosition;
  }

  /** The position behind the last acknowledged frame. */
  get position(): number {
    return this.end;
  }

  /** The version of the blob after the last write. */
  get version(): Etag {
    return this.etag;
  }

  /** When the segment's first frame was appended, in milliseconds since 1970; undefined while it has none. */
  get firstTimestamp(): number | undefined {
    return this.firstFrameAt;
  }

  /** Where the next commit begins, or the one behind `after`, which is under way. */
  commitStart(firstOffset: bigint, timestamp: number, after?: Commit): CommitStart {
    const { fence, seed } = this.identity;
    const position = after?.endPosition ?? this.end;
    const leading = after === undefined ? this.tailPage : tailOf(after);
    return { position, leading, firstOffset, timestamp, epoch: fence.epoch, seed };
  }

  /** Writes a commit; it is durable when this resolves. Rejects as `BlobStore.writePages`. */
  async write(commit: Commit): Promise<void> {
    const { store, blob, fence } = this.identity;
    assert(commit.position === this.end);
    this.etag = await store.writePages(blob, commit.writePosition, commit.bytes, this.etag, fence);
    assert(commit.position === this.end);
    for (const frame of commit.frames) this.index.add(frame);
    // A copy: a view would hold on to the whole commit.
    this.tailPage = Buffer.from(tailOf(commit));
    this.end = commit.endPosition;
    this.firstFrameAt ??= commit.timestamp;
  }

  /** Zeros what a torn commit left behind the end. */
  async clearBehindEnd(): Promise<void> {
    const { store, blob, fence, sizeBytes } = this.identity;
    let clearFrom = this.end;
    if (this.tailPage.length > 0) {
      const page = Buffer.alloc(pageBytes);
      this.tailPage.copy(page);
      const position = this.end - this.tailPage.length;
      this.etag = await store.writePages(blob, position, page, this.etag, fence);
      clearFrom = position + pageBytes;
    }
    if (clearFrom < sizeBytes) {
      this.etag = await store.clearPages(blob, clearFrom, sizeBytes - clearFrom, this.etag, fence);
    }
  }

  /** Whether enough was written since the last checkpoint to be worth one. */
  get checkpointDue(): boolean {
    return this.end - this.checkpointAt >= Math.max(checkpointIntervalBytes, this.checkpointBytes / checkpointShare);
  }

  /** Whether something was written since the last checkpoint. */
  get checkpointBehind(): boolean {
    return this.end > this.checkpointAt;
  }

  /**
   * Encodes the index with the stream's state as of `last`, the last frame, to be put at `identity.indexBlob`; where
   * the segment has no frame, as of `lastTimestamp`, that of the segment before. The put needs no condition: recovery believes a checkpoint only if the frame that it names is there, and an older one only
   * costs reading more.
   */
  takeCheckpoint(
    last: CheckpointFrame | undefined,
    lastTimestamp: number,
    producers: ProducerTable,
    sealed: boolean,
  ): Buffer {
    const { incarnation, firstOffset } = this.identity;
    if (last !== undefined) this.index.add(last, true);
    const endPosition = last?.endPosition ?? 0;
    const nextOffset = last?.nextOffset ?? firstOffset;
    const bytes = encodeCheckpoint(incarnation, firstOffset, {
      index: this.index,
      endPosition,
      nextOffset,
      lastTimestamp,
      sealed,
      producers,
    });
    this.checkpointAt = endPosition;
    this.checkpointBytes = bytes.length;
    return bytes;
  }
}

/** What stands in the last page of a commit before its end. */
function tailOf(commit: Commit): Buffer {
  const leading = commit.endPosition % pageBytes;
  const start = commit.endPosition - leading - commit.writePosition;
  return commit.bytes.subarray(start, start + leading);
}
