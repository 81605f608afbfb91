/**
 * The newest frames of the streams, in memory, so that the tail is served without reading storage.
 *
 * Invariants: a cache holds frames of acknowledged commits only, without a gap, up to the stream's last one; all
 * caches together hold at most the budget's bytes, the oldest commit of all streams goes first; the memory of a commit
 * that was given up is freed as soon as nobody has its frames on loan.
 */
import { freeMemory } from "../free-memory.ts";
import type { Loan } from "../segment/byte-cache.ts";
import type { Commit } from "../segment/commit.ts";
import type { Frame } from "../segment/format.ts";

/** Frames that follow each other, and the memory that they are views of. */
export type FrameRun = Pick<Commit, "position" | "endPosition" | "bytes" | "frames">;

interface CachedCommit {
  readonly cache: TailCache;
  /** Empty when they are given up: the budget's queue must not hold on to them. */
  frames: readonly Frame[];
  readonly bytes: number;
  /** What is freed with it; undefined where that is not ours alone. */
  readonly memory: ArrayBufferLike | undefined;
  /** Whether the cache holds it still. */
  held: boolean;
  /** How many have its frames. */
  loans: number;
}

/** Smaller commits are left to the garbage collector: to free them costs more than it saves. */
const freedBytesMin = 16 * 1024;

/** The budget's queue is cleaned when it has this many commits that are not held any more, and more than are held. */
const staleCommitsMax = 1024;

/** What the tail caches of a vault may hold together. */
export class TailBudget {
  private readonly bytesMax: number;
  private used = 0;
  private count = 0;
  /** The commits in the order in which they came; some may not be held any more. */
  private queue: CachedCommit[] = [];
  private head = 0;

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  /** The bytes that are held. */
  get usedBytes(): number {
    return this.used;
  }

  /** Accounts for a commit that a cache took, and makes room. */
  take(commit: CachedCommit): void {
    this.queue.push(commit);
    this.used += commit.bytes;
    this.count++;
    while (this.used > this.bytesMax && this.head < this.queue.length) {
      const oldest = this.queue[this.head++]!;
      if (oldest.held) oldest.cache.dropOldest();
    }
    if (this.queue.length > 2 * this.count + staleCommitsMax) {
      this.queue = this.queue.slice(this.head).filter((kept) => kept.held);
      this.head = 0;
    }
  }

  /** Accounts for a commit that a cache gave up. */
  giveBack(commit: CachedCommit): void {
    commit.held = false;
    commit.frames = [];
    this.used -= commit.bytes;
    this.count--;
    freeUnused(commit);
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

  /**
   * Takes an acknowledged commit, or a run of frames that was read from storage. `owned`: whether nobody else looks at its
   * memory from now on.
   */
  append(commit: FrameRun, owned = false): void {
    const content = commit.endPosition - commit.position;
    // The frames hold on to all that was allocated for the commit: where that is much more, keep copies of them.
    const allocated = commit.bytes.buffer.byteLength;
    const compact = content * 2 < allocated;
    const frames = compact ? commit.frames.map(copyFrame) : commit.frames;
    const bytes = (compact ? content : allocated) + frames.length * frameBytes;
    const mine = owned && allocated >= freedBytesMin ? commit.bytes.buffer : undefined;
    if (compact) free(mine);
    const memory = compact ? undefined : mine;
    const cached = { cache: this, frames, bytes, memory, held: true, loans: 0 };
    this.commits.push(cached);
    this.budget.take(cached);
  }

  /** The frames of the commit that holds `offset`, from the one with it on; undefined where it is not held. */
  framesFrom(offset: bigint): Loan<readonly Frame[]> | undefined {
    const first = this.commits[this.head];
    if (first === undefined || offset < first.frames[0]!.firstOffset) return undefined;
    // Who follows the tail wants the newest, nearly always.
    const newest = this.commits.at(-1)!;
    // A log ends behind a commit a little before the cache has it.
    if (offset >= newest.frames.at(-1)!.nextOffset) return undefined;
    if (offset >= newest.frames[0]!.firstOffset) return borrow(newest, offset);
    let low = this.head;
    let high = this.commits.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.commits[middle]!.frames.at(-1)!.nextOffset <= offset) low = middle + 1;
      else high = middle;
    }
    return borrow(this.commits[low]!, offset);
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
    this.budget.giveBack(oldest);
  }

  /** Gives up everything. */
  clear(): void {
    for (const commit of this.commits.slice(this.head)) this.budget.giveBack(commit);
    this.commits = [];
    this.head = 0;
  }
}

/** The frames of a commit from the one that holds `offset` on. */
function borrow(commit: CachedCommit, offset: bigint): Loan<readonly Frame[]> {
  const { frames } = commit;
  commit.loans++;
  let given = false;
  return {
    value: frames.slice(frames.findIndex((frame) => frame.nextOffset > offset)),
    giveBack() {
      if (given) return;
      given = true;
      commit.loans--;
      freeUnused(commit);
    },
  };
}

function freeUnused({ held, loans, memory }: CachedCommit): void {
  if (!held && loans === 0) free(memory);
}

function free(memory: ArrayBufferLike | undefined): void {
  if (memory !== undefined) freeMemory(new Uint8Array(memory));
}

/** What a frame's object takes in memory, about. */
const frameBytes = 400;

function copyFrame(frame: Frame): Frame {
  return { ...frame, payload: Buffer.from(frame.payload), producerSection: Buffer.alloc(0) };
}
