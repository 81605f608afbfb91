/**
 * Finding a segment's end after its leader, or its process, is gone.
 *
 * Frames are read on from the index checkpoint, or from the start. At the first that does not count the question is
 * whether it is the end, a torn commit that was never acknowledged, or damage to what was acknowledged:
 *
 * - nothing but zeros: the end.
 * - damage, if it lies before a position known to be acknowledged, or a valid frame of a later commit follows, or none
 *   of its sectors is as a torn write leaves it. (Torn writes leave whole 512-byte sectors as they were; behind the old
 *   end that is zero.) Damage is never cut: the end is behind the last valid frame, reading over it is an error.
 * - else a torn commit: the end is before it.
 */
import { pageBytes, writeBytesMax } from "../blob/blob-store.ts";
import { type Frame, frameFlags, headerBytes, parseFrame, peekFrameBytes, readHeader } from "./format.ts";
import { type Checkpoint, type CheckpointFrame, OffsetIndex } from "./offset-index.ts";
import type { ProducerTable } from "./producers.ts";
import { walkRecords } from "./records.ts";
import { findFrame, lookAheadBytes, type ScanState, scanFrames, scanStart, type SegmentSource } from "./scan.ts";

/** A place that holds other bytes than were written. */
export interface Damage {
  readonly position: number;
  readonly endPosition: number;
  /** The offset that should be there. */
  readonly offset: bigint;
}

/** What a segment was found to hold. */
export interface RecoveredSegment {
  readonly endPosition: number;
  readonly nextOffset: bigint;
  /** The last frame's timestamp, or that of the stream before the segment; milliseconds since 1970. */
  readonly lastTimestamp: number;
  readonly lastEpoch: number;
  readonly sealed: boolean;
  readonly endOfStream: boolean;
  readonly index: OffsetIndex;
  readonly producers: ProducerTable;
  readonly damages: readonly Damage[];
  /** Whether bytes of a torn commit stand behind the end. */
  readonly dirty: boolean;
  /** What stands before the end in the end's page. */
  readonly tailPage: Buffer;
  /** The last valid frame; undefined where there is none. */
  readonly lastFrame: CheckpointFrame | undefined;
  /** The end of the checkpoint that was used; 0 without one. */
  readonly checkpointPosition: number;
}

/** The stream's state before the segment. */
export interface SegmentBase {
  readonly firstOffset: bigint;
  readonly timestamp: number;
  readonly producers: ProducerTable;
}

const sectorBytes = 512;

/** Reads a segment to its end. `checkpoint` is used only if the frame that its last entry names is there. */
export async function recoverSegment(
  source: SegmentSource,
  base: SegmentBase,
  checkpoint: Checkpoint | undefined,
): Promise<RecoveredSegment> {
  const trusted = checkpoint && (await trustCheckpoint(source, base, checkpoint));
  const state = trusted?.state ?? scanStart(base.firstOffset, base.timestamp);
  const damages: Damage[] = [];
  const found: Found = trusted?.found ?? { endOfStream: false, index: new OffsetIndex(), producers: base.producers };
  const checkpointPosition = trusted?.state.position ?? 0;
  for (;;) {
    for await (const frame of scanFrames(source, state)) note(found, frame, damages.length > 0);
    if (state.sealed) break;
    const verdict = await judgeStop(source, state, checkpoint);
    if (verdict.kind === "damage") {
      damages.push({ position: state.position, endPosition: verdict.resume.position, offset: state.nextOffset });
      Object.assign(state, verdict.resume);
      continue;
    }
    const dirty = verdict.kind === "torn";
    return recovered(state, found, {
      damages,
      dirty,
      checkpointPosition,
      tailPage: await readTailPage(source, state.position),
    });
  }
  return recovered(state, found, { damages, dirty: false, checkpointPosition, tailPage: Buffer.alloc(0) });
}

/** What the frames that were read say beside where they are. */
export interface Found {
  endOfStream: boolean;
  readonly index: OffsetIndex;
  readonly producers: ProducerTable;
  lastFrame?: CheckpointFrame;
}

function note(found: Found, frame: Frame, always: boolean): void {
  found.index.add(frame, always);
  // As when the commit was built: what is too old then was forgotten before it was judged.
  if (frame.position === frame.commitPosition) found.producers.expire(frame.timestamp);
  found.producers.recordFrame(frame);
  const { position, endPosition, firstOffset, nextOffset, timestamp } = frame;
  found.lastFrame = { position, endPosition, firstOffset, nextOffset, timestamp };
  if ((frame.flags & frameFlags.endOfStream) !== 0) found.endOfStream = true;
}

function recovered(
  state: ScanState,
  found: Found,
  rest: Pick<RecoveredSegment, "damages" | "dirty" | "checkpointPosition" | "tailPage">,
): RecoveredSegment {
  found.producers.expire(state.timestamp);
  return {
    endPosition: state.position,
    nextOffset: state.nextOffset,
    lastTimestamp: state.timestamp,
    lastEpoch: state.epoch,
    sealed: state.sealed,
    endOfStream: found.endOfStream,
    index: found.index,
    producers: found.producers,
    lastFrame: found.lastFrame,
    ...rest,
  };
}

/**
 * Where to read on from, if the frame that the checkpoint's last entry names is there, whole, and where and what the
 * checkpoint says. A checkpoint of an empty segment names none: it has what came before.
 */
export async function trustCheckpoint(
  source: SegmentSource,
  base: SegmentBase,
  checkpoint: Checkpoint,
): Promise<{ state: ScanState; found: Found } | undefined> {
  const { index, producers, endPosition, nextOffset, lastTimestamp } = checkpoint;
  const last = index.entries.at(-1);
  if (last === undefined) {
    if (endPosition !== 0 || nextOffset !== base.firstOffset) return undefined;
    return { state: scanStart(base.firstOffset, lastTimestamp), found: { endOfStream: false, index, producers } };
  }
  if (endPosition <= last.position) return undefined;
  const { bytes } = await source.store.read(source.blob, last.position, endPosition - last.position);
  const frame = parseFrame(bytes, 0, last.position, source.seed);
  if (frame === undefined || frame.endPosition !== endPosition || frame.nextOffset !== nextOffset) return undefined;
  const sealed = (frame.flags & frameFlags.seal) !== 0;
  const endOfStream = (frame.flags & frameFlags.endOfStream) !== 0;
  const { position, firstOffset, timestamp, epoch } = frame;
  return {
    state: { position: endPosition, nextOffset, timestamp, epoch, commitPosition: endPosition, sealed },
    found: { endOfStream, index, producers, lastFrame: { position, endPosition, firstOffset, nextOffset, timestamp } },
  };
}

function stateOf(checkpoint: Pick<Checkpoint, "endPosition" | "nextOffset" | "lastTimestamp" | "sealed">): ScanState {
  return {
    position: checkpoint.endPosition,
    nextOffset: checkpoint.nextOffset,
    timestamp: checkpoint.lastTimestamp,
    epoch: 0,
    commitPosition: checkpoint.endPosition,
    sealed: checkpoint.sealed,
  };
}

/**
 * Why a walk stopped; behind damage it can go on at `resume`. `acknowledged`: what is damaged had been acknowledged
 * before it was read, so that it cannot be a commit that is just being written.
 */
export type Stop = { kind: "end" } | { kind: "torn" } | { kind: "damage"; resume: ScanState; acknowledged: boolean };

/**
 * What the frame at `state.position` is, which does not count. Everything before the end of `checkpoint` is known to be
 * acknowledged.
 */
export async function judgeStop(
  source: SegmentSource,
  state: ScanState,
  checkpoint: Pick<Checkpoint, "endPosition" | "nextOffset" | "lastTimestamp" | "sealed"> | undefined,
): Promise<Stop> {
  const { position } = state;
  const acknowledged = checkpoint !== undefined && position < checkpoint.endPosition ? checkpoint : undefined;
  const { bytes } = await source.store.read(source.blob, position, lookAheadBytes);
  if (acknowledged === undefined && isZero(bytes, 0, bytes.length)) return { kind: "end" };
  // What is left of the same commit was acknowledged with what is damaged.
  const rest = findFrame(bytes, position, 1, source.seed, () => true);
  const later = await findLater(source, position, acknowledged);
  if (later !== undefined) return { kind: "damage", resume: resumeAt(state, rest ?? later), acknowledged: true };
  if (acknowledged !== undefined) {
    return { kind: "damage", resume: { ...stateOf(acknowledged), epoch: state.epoch }, acknowledged: true };
  }
  // A header that a torn write has split is not to be believed, its length neither.
  if (mayBeTorn(bytes, position, 0)) return { kind: "torn" };
  const extent = frameExtent(bytes);
  const lengthHolds = (rest === undefined || rest.position >= position + extent) && !hasWrongLength(state, bytes);
  if (lengthHolds && mayBeTorn(bytes, position, extent)) return { kind: "torn" };
  const resume = rest === undefined ? behindLastFrame(state, bytes, extent) : resumeAt(state, rest);
  return { kind: "damage", resume, acknowledged: false };
}

/** The first valid frame behind `position` that shows that what is at `position` had been acknowledged. */
async function findLater(
  source: SegmentSource,
  position: number,
  acknowledged: Pick<Checkpoint, "endPosition"> | undefined,
): Promise<Frame | undefined> {
  const end = acknowledged?.endPosition ?? position + 1;
  for (let at = position; at < end; at += writeBytesMax) {
    // Room for the commit at the start of the window and a whole frame behind it.
    const { bytes } = await source.store.read(source.blob, at, lookAheadBytes + writeBytesMax);
    const accept = (frame: Frame) => acknowledged !== undefined || frame.commitPosition > position;
    const frame = findFrame(bytes, at, at === position ? 1 : 0, source.seed, accept);
    if (frame !== undefined) return frame;
  }
  return undefined;
}

/** The state in which `frame` comes next. */
function resumeAt(state: ScanState, frame: Frame): ScanState {
  return {
    position: frame.position,
    nextOffset: frame.firstOffset,
    timestamp: Math.min(state.timestamp, frame.timestamp),
    epoch: Math.min(state.epoch, frame.epoch),
    commitPosition: frame.commitPosition,
    sealed: false,
  };
}

/** How far the bad frame at the start of `bytes` goes, as far as its header can be believed; 0 if not at all. */
function frameExtent(bytes: Buffer): number {
  return peekFrameBytes(bytes, 0) ?? 0;
}

/**
 * Whether some sector of the frame, or of its header where that cannot be believed, is as it was before the write: zero
 * to its end.
 */
function mayBeTorn(bytes: Buffer, position: number, extent: number): boolean {
  const end = Math.min(bytes.length, extent === 0 ? headerBytes : extent);
  for (let at = 0; at < end;) {
    const sectorEnd = Math.min(bytes.length, at + sectorBytes - ((position + at) % sectorBytes));
    if (isZero(bytes, at, sectorEnd)) return true;
    at = sectorEnd;
  }
  return false;
}

/** Whether all records that the header names are there, and end elsewhere than it says: then nothing of it is missing. */
function hasWrongLength(state: ScanState, bytes: Buffer): boolean {
  const { firstOffset, recordCount, payloadBytes } = readHeader(bytes, 0);
  if (firstOffset !== state.nextOffset || recordCount === 0) return false;
  const walked = walkRecords(bytes.subarray(headerBytes), firstOffset);
  return walked.count === recordCount && walked.bytes !== payloadBytes;
}

/**
 * Nothing valid follows the damage: publishing goes on at the next page behind it, and behind the offsets that its
 * header or its records name, so that none of them is given again.
 */
function behindLastFrame(state: ScanState, bytes: Buffer, extent: number): ScanState {
  const header = readHeader(bytes, 0);
  const plausible = header.firstOffset === state.nextOffset && header.recordCount * 2 <= extent;
  const { count } = walkRecords(bytes.subarray(headerBytes), state.nextOffset);
  const position = Math.ceil((state.position + lastNonZero(bytes) + 1) / pageBytes) * pageBytes;
  return {
    ...state,
    position,
    nextOffset: state.nextOffset + BigInt(Math.max(count, plausible ? header.recordCount : 0)),
    commitPosition: position,
  };
}

async function readTailPage(source: SegmentSource, endPosition: number): Promise<Buffer> {
  const leading = endPosition % pageBytes;
  if (leading === 0) return Buffer.alloc(0);
  const { bytes } = await source.store.read(source.blob, endPosition - leading, leading);
  return Buffer.from(bytes);
}

/** Whether the bytes from `start` to `end` are zeros. */
export function isZero(bytes: Buffer, start: number, end: number): boolean {
  for (let at = start; at < end; at += zeros.length) {
    const length = Math.min(zeros.length, end - at);
    if (zeros.compare(bytes, at, at + length, 0, length) !== 0) return false;
  }
  return true;
}

function lastNonZero(bytes: Buffer): number {
  let at = bytes.length - 1;
  while (at >= 0 && bytes[at] === 0) at--;
  return at;
}

const zeros = Buffer.alloc(64 * 1024);
