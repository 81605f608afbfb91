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
import { pageBytes } from "../blob/blob-store.ts";
import { type Frame, frameFlags, headerBytes, peekFrameBytes, readHeader } from "./format.ts";
import { type Checkpoint, OffsetIndex } from "./offset-index.ts";
import type { ProducerTable } from "./producers.ts";
import { advance, findFrame, lookAheadBytes, type ScanState, scanFrames, scanStart, type SegmentSource } from "./scan.ts";

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
  const trusted = checkpoint !== undefined && (await checkpointHolds(source, checkpoint)) ? checkpoint : undefined;
  const index = trusted?.index ?? new OffsetIndex();
  const producers = trusted?.producers ?? base.producers;
  const state = trusted === undefined ? scanStart(base.firstOffset, base.timestamp) : stateOf(trusted);
  const damages: Damage[] = [];
  const found: Found = { endOfStream: false, index, producers };
  for (;;) {
    for await (const frame of scanFrames(source, state)) note(found, frame, damages.length > 0);
    if (state.sealed) break;
    const verdict = await judgeStop(source, state, checkpoint);
    if (verdict.kind === "damage") {
      damages.push({ position: state.position, endPosition: verdict.resume.position, offset: state.nextOffset });
      Object.assign(state, verdict.resume);
      continue;
    }
    return recovered(state, found, damages, verdict.kind === "torn", await readTailPage(source, state.position));
  }
  return recovered(state, found, damages, false, Buffer.alloc(0));
}

interface Found {
  endOfStream: boolean;
  index: OffsetIndex;
  producers: ProducerTable;
}

function note(found: Found, frame: Frame, always: boolean): void {
  found.index.add(frame, always);
  found.producers.recordFrame(frame);
  found.producers.expire(frame.timestamp);
  if ((frame.flags & frameFlags.endOfStream) !== 0) found.endOfStream = true;
}

function recovered(
  state: ScanState,
  found: Found,
  damages: readonly Damage[],
  dirty: boolean,
  tailPage: Buffer,
): RecoveredSegment {
  return {
    endPosition: state.position,
    nextOffset: state.nextOffset,
    lastTimestamp: state.timestamp,
    lastEpoch: state.epoch,
    sealed: state.sealed,
    ...found,
    damages,
    dirty,
    tailPage,
  };
}

/** Whether the frame that the checkpoint's last entry names is there, whole and where the checkpoint says it ends. */
async function checkpointHolds(source: SegmentSource, checkpoint: Checkpoint): Promise<boolean> {
  const last = checkpoint.index.entries.at(-1);
  if (last === undefined) return false;
  const { bytes } = await source.store.read(source.blob, last.position, checkpoint.endPosition - last.position);
  const frame = findFrame(bytes, last.position, 0, source.seed, () => true);
  return (
    frame !== undefined &&
    frame.position === last.position &&
    frame.endPosition === checkpoint.endPosition &&
    frame.nextOffset === checkpoint.nextOffset
  );
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

/** Why a walk stopped; behind damage it can go on at `resume`. */
export type Stop = { kind: "end" } | { kind: "torn" } | { kind: "damage"; resume: ScanState };

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
  // The longest run that a damaged frame can hide: up to what is known to be acknowledged, or one commit.
  const next = await findLater(source, position, bytes, acknowledged);
  if (next !== undefined) return { kind: "damage", resume: { ...resumeAt(state, next), sealed: false } };
  if (acknowledged !== undefined) return { kind: "damage", resume: { ...stateOf(acknowledged), epoch: state.epoch } };
  if (isZero(bytes, 0, bytes.length)) return { kind: "end" };
  const extent = frameExtent(bytes);
  if (mayBeTorn(bytes, position, extent)) return { kind: "torn" };
  return { kind: "damage", resume: behindLastFrame(state, bytes, extent) };
}

/** The first valid frame behind `position` that shows that what is at `position` had been acknowledged. */
async function findLater(
  source: SegmentSource,
  position: number,
  bytes: Buffer,
  acknowledged: Pick<Checkpoint, "endPosition"> | undefined,
): Promise<Frame | undefined> {
  if (acknowledged === undefined) {
    return findFrame(bytes, position, 1, source.seed, (frame) => frame.commitPosition > position);
  }
  for (let at = position; at < acknowledged.endPosition; at += lookAheadBytes / 2) {
    const window = at === position ? bytes : (await source.store.read(source.blob, at, lookAheadBytes)).bytes;
    const frame = findFrame(window, at, at === position ? 1 : 0, source.seed, () => true);
    if (frame !== undefined) return frame;
  }
  return undefined;
}

function resumeAt(state: ScanState, frame: Frame): ScanState {
  const resume = { ...state };
  advance(resume, frame);
  return {
    ...resume,
    position: frame.position,
    nextOffset: frame.firstOffset,
    epoch: Math.min(state.epoch, frame.epoch),
    commitPosition: frame.commitPosition,
  };
}

/** How far the bad frame at the start of `bytes` goes, as far as its header can be believed; 0 if not at all. */
function frameExtent(bytes: Buffer): number {
  return peekFrameBytes(bytes, 0) ?? 0;
}

/** Whether some sector of the frame, or of its header where that cannot be believed, is as it was before the write. */
function mayBeTorn(bytes: Buffer, position: number, extent: number): boolean {
  const end = Math.min(bytes.length, extent === 0 ? headerBytes : extent);
  for (let at = 0; at < end; ) {
    const sectorEnd = Math.min(end, at + sectorBytes - ((position + at) % sectorBytes));
    if (isZero(bytes, at, sectorEnd)) return true;
    at = sectorEnd;
  }
  return false;
}

/**
 * Nothing valid follows the damage: publishing goes on at the next page behind it, and behind the offsets that its
 * header names, if that is plausible, so that none of them is given again.
 */
function behindLastFrame(state: ScanState, bytes: Buffer, extent: number): ScanState {
  const header = extent > 0 ? readHeader(bytes, 0) : undefined;
  const plausible = header !== undefined && header.firstOffset === state.nextOffset && header.recordCount * 2 <= extent;
  const end = Math.max(extent, lastNonZero(bytes) + 1);
  const position = Math.ceil((state.position + end) / pageBytes) * pageBytes;
  return {
    ...state,
    position,
    nextOffset: plausible ? state.nextOffset + BigInt(header.recordCount) : state.nextOffset,
    commitPosition: position,
  };
}

async function readTailPage(source: SegmentSource, endPosition: number): Promise<Buffer> {
  const leading = endPosition % pageBytes;
  if (leading === 0) return Buffer.alloc(0);
  const { bytes } = await source.store.read(source.blob, endPosition - leading, leading);
  return Buffer.from(bytes);
}

function isZero(bytes: Buffer, start: number, end: number): boolean {
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
