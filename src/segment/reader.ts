/**
 * Reading frames from storage.
 *
 * A segment is read in blocks: the frames between index entries about `blockBytes` apart. Where blocks begin depends
 * on the segment alone, not on who reads it, so that all subscriptions share the same reads, the cached blocks and the
 * checksums of their frames; and a block begins and ends with whole frames, so that nothing is read twice.
 */
import { freeMemory } from "../free-memory.ts";
import { ByteCache, type Loan } from "./byte-cache.ts";
import { type Frame, headerBytes, parseFrame } from "./format.ts";
import { decodeCheckpoint, type OffsetIndex } from "./offset-index.ts";
import { noProducers, ProducerTable } from "./producers.ts";
import { recoverSegment } from "./recovery.ts";
import { damageError, findFrame, type SegmentSource } from "./scan.ts";

/** A block: as it was read, and its frames, in order, which lie in those bytes. Where it is damaged, frames are missing. */
export interface Block {
  readonly bytes: Buffer;
  readonly frames: readonly Frame[];
}

/** A segment as readers know it. */
export interface ReadableSegment {
  readonly blob: string;
  readonly firstOffset: bigint;
  readonly index: OffsetIndex;
  /** The position behind the last frame that may be read. */
  readonly endPosition: number;
  /** Whether `endPosition` may still move. */
  readonly open: boolean;
}

/** What is kept of a sealed segment. */
export interface SealedSegment extends ReadableSegment {
  readonly lastTimestamp: number;
  readonly nextOffset: bigint;
}

/** The caches that all streams of a vault share. */
export interface ReadCaches {
  readonly blocks: ByteCache<Block>;
  readonly indexes: ByteCache<SealedSegment>;
  readonly blockBytes: number;
  /** How many blocks are read ahead of a subscription that reads from storage. */
  readonly readAheadBlocks: number;
}

/**
 * A cache of blocks. The memory of one that is neither kept nor on loan is freed at once: a replay reads as much as it
 * sends. `bytesMax` and `readsMax` as in `ByteCache`.
 */
export function createBlockCache(bytesMax: number, readsMax: number): ByteCache<Block> {
  return new ByteCache<Block>(bytesMax, readsMax, ({ bytes }) => freeMemory(bytes));
}

/**
 * The block that holds `offset`, from storage or the cache. Starts to read the blocks behind it where they are wanted
 * next: not for a look at one place.
 */
export async function readBlock(
  source: SegmentSource,
  segment: ReadableSegment,
  offset: bigint,
  caches: ReadCaches,
  readAhead: boolean,
): Promise<Loan<Block>> {
  const { start, end } = segment.index.blockAt(segment.index.positionOfOffset(offset), caches.blockBytes);
  const block = borrowBlock(source, segment, start, end, caches);
  let ahead = readAhead ? end : undefined;
  for (let i = 0; i < caches.readAheadBlocks && ahead !== undefined; i++) {
    const next = segment.index.blockAt(ahead, caches.blockBytes);
    // A failure shows when the block is asked for.
    if (next.end !== undefined || !segment.open) {
      void borrowBlock(source, segment, next.start, next.end, caches).then(giveBack, () => undefined);
    }
    ahead = next.end;
  }
  return block;
}

/** Where the frame with `offset` stands in a block. Throws `corrupt` where the block lacks it. */
export function frameInBlock({ frames }: Block, offset: bigint, segment: ReadableSegment): number {
  let low = 0;
  let high = frames.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (frames[middle]!.nextOffset <= offset) low = middle + 1;
    else high = middle;
  }
  const frame = frames[low];
  if (frame !== undefined && frame.firstOffset <= offset) return low;
  const before = frames[low - 1];
  throw damageError(segment.blob, before?.endPosition ?? segment.index.positionOfOffset(offset), offset);
}

/**
 * The index of a sealed segment, from its blob; where that is missing, damaged or from before the seal, it is made anew
 * from the frames.
 */
export function loadSealed(
  source: SegmentSource,
  incarnation: string,
  firstOffset: bigint,
  indexBlob: string,
  caches: ReadCaches,
): Promise<SealedSegment> {
  return caches.indexes.get(source.blob, async () => {
    const stored = await source.store.get(indexBlob);
    const checkpoint = stored && decodeCheckpoint(stored.bytes, incarnation, firstOffset, noProducers);
    const known = checkpoint?.sealed === true ? checkpoint : undefined;
    const base = { firstOffset, timestamp: 0, producers: new ProducerTable(noProducers) };
    const state = known ?? (await recoverSegment(source, base, checkpoint));
    const { index, endPosition, lastTimestamp, nextOffset } = state;
    const value = { blob: source.blob, firstOffset, index, endPosition, lastTimestamp, nextOffset, open: false };
    return { value, bytes: index.memoryBytes };
  });
}

function giveBack(loan: Loan<Block>): void {
  loan.giveBack();
}

function borrowBlock(
  source: SegmentSource,
  segment: ReadableSegment,
  start: number,
  end: number | undefined,
  caches: ReadCaches,
): Promise<Loan<Block>> {
  const stop = end ?? segment.endPosition;
  return caches.blocks.borrow(`${source.blob}@${start}-${stop}`, async () => {
    const { bytes } = await source.store.read(source.blob, start, stop - start);
    const frames = parseBlock(bytes, start, source.seed);
    return { value: { bytes, frames }, bytes: bytes.length + frames.length * frameBytes };
  });
}

/** What a frame's object takes in memory, about. */
const frameBytes = 400;

/** The valid frames in `bytes`, which stand at `position`. */
function parseBlock(bytes: Buffer, position: number, seed: number): Frame[] {
  const frames: Frame[] = [];
  for (let at = 0; at + headerBytes <= bytes.length;) {
    const frame = parseFrame(bytes, at, position + at, seed) ?? findFrame(bytes, position, at + 1, seed, () => true);
    if (frame === undefined) break;
    frames.push(frame);
    at = frame.endPosition - position;
  }
  return frames;
}
