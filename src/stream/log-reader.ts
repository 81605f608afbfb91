/** Reading a stream's frames by offset or time: from the tail cache, else from storage. */
import { VaultError } from "../errors.ts";
import type { Loan } from "../segment/byte-cache.ts";
import type { Frame } from "../segment/format.ts";
import { frameInBlock, loadSealed, type ReadableSegment, readBlock, type SealedSegment } from "../segment/reader.ts";
import type { SegmentSource } from "../segment/scan.ts";
import type { Engine } from "./engine.ts";
import type { ListedSegment } from "./segment-list.ts";
import { chooseProbe, type SegmentTimes } from "./segment-times.ts";
import type { TailCache } from "./tail-cache.ts";

/** A log, as far as reading goes. */
export interface ReadableLog {
  readonly incarnation: string;
  readonly seed: number;
  /** The offset behind the last record that may be read. */
  readonly nextOffset: bigint;
  /** The timestamp of the last frame in milliseconds since 1970; 0 while there is none. */
  readonly lastTimestamp: number;
  /** The segments before the last one, in order. */
  readonly sealed: readonly ListedSegment[];
  /** The last segment. */
  readonly openSegment: ReadableSegment;
  /** What is known of the sealed ones. */
  readonly times: SegmentTimes;
}

/**
 * Frames from the one that holds `offset` on, in order: at least one, how many depends on where they come from.
 * `offset` is below the log's next; `readAhead`: whether what is behind them is wanted next. Throws `outOfRange` where
 * its segment is gone, `corrupt` where it is damaged.
 */
export async function readFrames(
  engine: Engine,
  log: ReadableLog,
  tail: TailCache,
  offset: bigint,
  readAhead: boolean,
): Promise<Loan<readonly Frame[]>> {
  const cached = tail.framesFrom(offset);
  if (cached !== undefined) return cached;
  const segment = await segmentOf(engine, log, offset);
  const { value: block, giveBack } = await readBlock(
    sourceOf(engine, log, segment.blob),
    segment,
    offset,
    engine.caches,
    readAhead,
  );
  return { value: block.frames.slice(frameInBlock(block, offset, segment)), giveBack };
}

/** The offset of the first record at or after `timestamp` (milliseconds since 1970); the next offset if there is none. */
export async function findTimestamp(
  engine: Engine,
  log: ReadableLog,
  tail: TailCache,
  timestamp: number,
): Promise<bigint> {
  if (log.nextOffset === 0n || timestamp > log.lastTimestamp) return log.nextOffset;
  const segment = await firstSegmentReaching(engine, log, timestamp);
  const { before, after = log.nextOffset } = segment.index.offsetsAround(timestamp);
  let offset = before ?? segment.firstOffset;
  // From `after` on all is late enough: that needs no look.
  while (offset < after && offset < log.nextOffset) {
    const { value: frames, giveBack } = await readFrames(engine, log, tail, offset, false);
    // Frames are looked at, not into.
    giveBack();
    for (const frame of frames) {
      if (frame.timestamp >= timestamp && frame.recordCount > 0) return frame.firstOffset;
      offset = frame.nextOffset;
    }
  }
  return offset;
}

/** What a sealed segment holds, from its index. */
export async function sealedSegment(engine: Engine, log: ReadableLog, segment: ListedSegment): Promise<SealedSegment> {
  const source = sourceOf(engine, log, segment.blob);
  const loaded = await loadSealed(source, log.incarnation, segment.firstOffset, segment.indexBlob, engine.caches);
  log.times.learn(loaded);
  return loaded;
}

/** How often in a row a search by time goes where it guesses that the time is. */
const guessesMax = 3;

async function firstSegmentReaching(engine: Engine, log: ReadableLog, timestamp: number): Promise<ReadableSegment> {
  const { sealed, openSegment, times } = log;
  const openTime = openSegment.index.entries[0]?.timestamp;
  for (let probes = 1; ; probes++) {
    const search = times.narrow(sealed, timestamp, openTime);
    const { low, high } = search;
    if (low === high) {
      const found = sealed[low];
      return found === undefined ? openSegment : sealedSegment(engine, log, found);
    }
    // Every other one, once it shows that guesses do not lead there.
    const bisecting = probes > guessesMax && probes % 2 === 0;
    await sealedSegment(engine, log, sealed[chooseProbe(search, sealed, timestamp, bisecting)]!);
  }
}

async function segmentOf(engine: Engine, log: ReadableLog, offset: bigint): Promise<ReadableSegment> {
  const { openSegment } = log;
  if (offset >= openSegment.firstOffset) return openSegment;
  const segment = log.sealed.findLast((candidate) => candidate.firstOffset <= offset);
  if (segment === undefined) {
    const first = log.sealed[0]?.firstOffset ?? openSegment.firstOffset;
    const message = `offset ${offset} was trimmed; the first that is kept is ${first}`;
    throw new VaultError("outOfRange", message, { found: { first_offset: String(first) } });
  }
  return sealedSegment(engine, log, segment);
}

function sourceOf(engine: Engine, log: ReadableLog, blob: string): SegmentSource {
  return { store: engine.store, blob, seed: log.seed };
}
