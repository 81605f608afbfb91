/** Reading a stream's frames by offset or time: from the tail cache, else from storage. */
import { VaultError } from "../errors.ts";
import type { Frame } from "../segment/format.ts";
import { frameInBlock, loadSealed, type ReadableSegment, readBlock, type SealedSegment } from "../segment/reader.ts";
import type { SegmentSource } from "../segment/scan.ts";
import type { Engine } from "./engine.ts";
import type { ListedSegment } from "./segment-list.ts";
import type { StreamLog } from "./stream-log.ts";
import type { TailCache } from "./tail-cache.ts";

/**
 * Frames from the one that holds `offset` on, in order: at least one, how many depends on where they come from.
 * `offset` is below the log's next. Throws `outOfRange` where its segment is gone, `corrupt` where it is damaged.
 */
export async function readFrames(
  engine: Engine,
  log: StreamLog,
  tail: TailCache,
  offset: bigint,
): Promise<readonly Frame[]> {
  const cached = tail.framesFrom(offset);
  if (cached !== undefined) return cached;
  const segment = await segmentOf(engine, log, offset);
  const block = await readBlock(sourceOf(engine, log, segment.blob), segment, offset, engine.caches);
  return block.slice(frameInBlock(block, offset, segment));
}

/** The offset of the first record at or after `timestamp` (milliseconds since 1970); the next offset if there is none. */
export async function findTimestamp(
  engine: Engine,
  log: StreamLog,
  tail: TailCache,
  timestamp: number,
): Promise<bigint> {
  if (log.nextOffset === 0n || timestamp > log.lastTimestamp) return log.nextOffset;
  const segment = await firstSegmentReaching(engine, log, timestamp);
  let offset = segment.index.offsetBeforeTimestamp(timestamp) ?? segment.firstOffset;
  while (offset < log.nextOffset) {
    for (const frame of await readFrames(engine, log, tail, offset)) {
      if (frame.timestamp >= timestamp && frame.recordCount > 0) return frame.firstOffset;
      offset = frame.nextOffset;
    }
  }
  return offset;
}

/** What a sealed segment holds, from its index. */
export function sealedSegment(engine: Engine, log: StreamLog, segment: ListedSegment): Promise<SealedSegment> {
  const source = sourceOf(engine, log, segment.blob);
  return loadSealed(source, log.incarnation, segment.firstOffset, segment.indexBlob, engine.caches);
}

async function firstSegmentReaching(engine: Engine, log: StreamLog, timestamp: number): Promise<ReadableSegment> {
  const { sealed } = log;
  let low = 0;
  let high = sealed.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const segment = await sealedSegment(engine, log, sealed[middle]!);
    if (segment.lastTimestamp < timestamp) low = middle + 1;
    else high = middle;
  }
  const found = sealed[low];
  return found === undefined ? openSegment(log) : sealedSegment(engine, log, found);
}

async function segmentOf(engine: Engine, log: StreamLog, offset: bigint): Promise<ReadableSegment> {
  if (offset >= log.writer.identity.firstOffset) return openSegment(log);
  const segment = log.sealed.findLast((candidate) => candidate.firstOffset <= offset);
  if (segment === undefined) {
    const first = log.sealed[0]?.firstOffset ?? log.writer.identity.firstOffset;
    const message = `offset ${offset} was trimmed; the first that is kept is ${first}`;
    throw new VaultError("outOfRange", message, { found: { first_offset: String(first) } });
  }
  return sealedSegment(engine, log, segment);
}

function openSegment(log: StreamLog): ReadableSegment {
  const { identity, index, position } = log.writer;
  return { blob: identity.blob, firstOffset: identity.firstOffset, index, endPosition: position, open: true };
}

function sourceOf(engine: Engine, log: StreamLog, blob: string): SegmentSource {
  return { store: engine.store, blob, seed: log.seed };
}
