/** Walking a segment's frames from storage: for recovery, for `verify`, and where there is no index. */
import { type BlobReader, pageBytes, writeBytesMax } from "../blob/blob-store.ts";
import { VaultError } from "../errors.ts";
import { type Frame, frameFlags, headerBytes, magicBytes, parseFrame, peekFrameBytes } from "./format.ts";

/** A segment to read. */
export interface SegmentSource {
  readonly store: BlobReader;
  readonly blob: string;
  /** See `incarnationSeed`. */
  readonly seed: number;
}

/** Where a walk stands: what the next frame must follow. */
export interface ScanState {
  position: number;
  nextOffset: bigint;
  /** Milliseconds since 1970. */
  timestamp: number;
  epoch: number;
  /** The position of the commit under way. */
  commitPosition: number;
  sealed: boolean;
}

/** How much is looked at behind a bad frame: a largest commit, its first page, and the header of what may follow. */
export const lookAheadBytes = writeBytesMax + 2 * pageBytes;

const windowBytes = writeBytesMax;

/** The state at a segment's start. */
export function scanStart(firstOffset: bigint, timestamp: number): ScanState {
  return { position: 0, nextOffset: firstOffset, timestamp, epoch: 0, commitPosition: 0, sealed: false };
}

/**
 * Yields the frames from `state.position` on, and moves `state` behind each. Ends at a seal or at the first frame that
 * does not count: whose checksum, next offset, time, commit or epoch does not hold. `end`: where to stop at the latest.
 */
export async function* scanFrames(source: SegmentSource, state: ScanState, end = Infinity): AsyncGenerator<Frame> {
  let window: Buffer = Buffer.alloc(0);
  let windowStart = state.position;
  let windowFull = true;
  while (!state.sealed && state.position < end) {
    const at = state.position - windowStart;
    const frame = parseFrame(window, at, state.position, source.seed);
    if (frame !== undefined) {
      if (!follows(frame, state)) return;
      advance(state, frame);
      yield frame;
      continue;
    }
    if (!windowFull || !mayContinue(window, at)) return;
    const { bytes } = await source.store.read(source.blob, state.position, windowBytes);
    if (bytes.length === 0) return;
    windowFull = bytes.length === windowBytes;
    // The same bytes from the same place again: they held no frame the first time.
    if (at === 0 && window.length === bytes.length) return;
    window = bytes;
    windowStart = state.position;
  }
}

/** Whether a frame is the one that comes next. */
export function follows(frame: Frame, state: ScanState): boolean {
  return (
    frame.firstOffset === state.nextOffset &&
    frame.timestamp >= state.timestamp &&
    frame.epoch >= state.epoch &&
    (frame.commitPosition === frame.position || frame.commitPosition === state.commitPosition)
  );
}

/** Moves `state` behind `frame`. */
export function advance(state: ScanState, frame: Frame): void {
  state.position = frame.endPosition;
  state.nextOffset = frame.nextOffset;
  state.timestamp = frame.timestamp;
  state.epoch = frame.epoch;
  state.commitPosition = frame.commitPosition;
  state.sealed = (frame.flags & frameFlags.seal) !== 0;
}

/** The first valid frame in `bytes`, which stand at `position`, at or behind `from`, that `accept` takes. */
export function findFrame(
  bytes: Buffer,
  position: number,
  from: number,
  seed: number,
  accept: (frame: Frame) => boolean,
): Frame | undefined {
  for (let at = bytes.indexOf(magicBytes, from); at >= 0; at = bytes.indexOf(magicBytes, at + 1)) {
    const frame = parseFrame(bytes, at, position + at, seed);
    if (frame !== undefined && accept(frame)) return frame;
  }
  return undefined;
}

/** The error that reading over a damaged place gives. */
export function damageError(blob: string, position: number, expectedOffset: bigint): VaultError {
  return new VaultError(
    "corrupt",
    `${blob} is damaged at position ${position}, where offset ${expectedOffset} should be; run verify for all of it`,
    { resource: blob, found: { segment: blob, position: String(position), offset: String(expectedOffset) } },
  );
}

/** Whether the bytes at `at` may be a frame that the window cuts off. */
export function mayContinue(window: Buffer, at: number): boolean {
  if (at + headerBytes > window.length) return true;
  const length = peekFrameBytes(window, at);
  return length !== undefined && at + length > window.length;
}
