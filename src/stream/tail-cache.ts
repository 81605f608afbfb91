/**
 * The newest frames of the streams, in memory, so that the tail is served without reading storage.
 *
 * Invariants: a cache holds frames of acknowledged commits only, without a gap, up to the stream's last one; all
 * caches together hold at most the budget's bytes, the oldest commit of all streams goes first.
 */
import type { Commit } from "../segment/commit.ts";
import type { Frame } from "../segment/format.ts";

interface CachedCommit {
  readonly frames: readonly Frame[];
  readonly bytes: number;
}

/** What the tail caches of a vault may hold together. */
export class TailBudget {
  private readonly bytesMax: number;
  private used = 0;
  /** A cache stands here once for each commit that it was given, in order. */
  private queue: TailCache[] = [];
  private head = 0;

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  /** The bytes that are held. */
  get usedBytes(): number {
    return this.used;
  }

  /** Accounts for a commit that `cache` took, and makes room. */
  take(cache: TailCache, bytes: number): void {
    this.queue.push(cache);
    this.used += bytes;
    while (this.used > this.bytesMax && this.head < this.queue.length) {
      this.queue[this.head++]!.dropOldest();
      if (this.head > 1024 && this.head * 2 > this.queue.length) {
        this.queue = this.queue.slice(this.head);
        this.head = 0;
      }
    }
  }

  /** Accounts for bytes that a cache gave up. */
  giveBack(bytes: number): void {
    this.used -= bytes;
  }
}

/** The newest frames of one stream. */
export class TailCache {
  private readonly budget: TailBudget;
  private commits: CachedCommit[] = [];
  private head = 0;

  constructor(budget: TailBudget) {
    this.budget = budget;
  }

  /** Takes an acknowledged commit. */
  append(commit: Commit): void {
    const content = commit.endPosition - commit.position;
    // A small commit would hold on to its pages: keep a copy of just the frames.
    const compact = content * 2 < commit.bytes.length;
    const frames = compact ? commit.frames.map(copyFrame) : commit.frames;
    const bytes = (compact ? content : commit.bytes.length) + frames.length * frameBytes;
    this.commits.push({ frames, bytes });
    this.budget.take(this, bytes);
  }

  /** The frames of the commit that holds `offset`, from the one with it on; undefined where it is not held. */
  framesFrom(offset: bigint): readonly Frame[] | undefined {
    const first = this.commits[this.head];
    if (first === undefined || offset < first.frames[0]!.firstOffset) return undefined;
    let low = this.head;
    let high = this.commits.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.commits[middle]!.frames.at(-1)!.nextOffset <= offset) low = middle + 1;
      else high = middle;
    }
    const frames = this.commits[low]?.frames;
    return frames?.slice(frames.findIndex((frame) => frame.nextOffset > offset));
  }

  /** Gives up the oldest commit, if there is one. */
  dropOldest(): void {
    const oldest = this.commits[this.head];
    if (oldest === undefined) return;
    this.head++;
    if (this.head * 2 > this.commits.length) {
      this.commits = this.commits.slice(this.head);
      this.head = 0;
    }
    this.budget.giveBack(oldest.bytes);
  }

  /** Gives up everything. */
  clear(): void {
    for (const commit of this.commits.slice(this.head)) this.budget.giveBack(commit.bytes);
    this.commits = [];
    this.head = 0;
  }
}

/** What a frame's object takes in memory, about. */
const frameBytes = 400;

function copyFrame(frame: Frame): Frame {
  return { ...frame, payload: Buffer.from(frame.payload), producerSection: Buffer.alloc(0) };
}
