/**
 * Checking a stream on storage: every frame and record, seals, the continuity of offsets and times, indexes, producers
 * and metadata. Nothing is changed, and the vault may run meanwhile: beyond the end that it had when the last segment
 * was looked at, a frame that is not whole is one that is just being written.
 */
import type { BlobReader } from "../blob/blob-store.ts";
import { isKind } from "../errors.ts";
import { encodeTimestampField } from "../segment/commit.ts";
import { type Frame, frameFlags, incarnationSeed } from "../segment/format.ts";
import { type Checkpoint, decodeCheckpoint, type IndexEntry } from "../segment/offset-index.ts";
import { type ProducerLimits, ProducerTable } from "../segment/producers.ts";
import { walkRecords } from "../segment/records.ts";
import { judgeStop } from "../segment/recovery.ts";
import { type ScanState, scanFrames, scanStart, type SegmentSource } from "../segment/scan.ts";
import { metadataBlob, readMetadata, segmentPrefix, type StreamMetadata } from "./metadata.ts";
import { type ListedSegment, listSegments } from "./segment-list.ts";

/** Something that is not as it should be. */
export interface Finding {
  readonly kind: "finding";
  readonly blob: string;
  /** In bytes, where it is one place. */
  readonly position: number | undefined;
  readonly problem: string;
}

/** Something that is worth to know but no fault. */
export interface Note {
  readonly kind: "note";
  readonly blob: string;
  readonly text: string;
}

/** A segment that was read to its end. Totals are of the stream up to here. */
export interface VerifyProgress {
  readonly kind: "progress";
  readonly blob: string;
  readonly segments: number;
  readonly frames: number;
  readonly records: bigint;
  readonly bytes: number;
  readonly nextOffset: bigint;
}

/** What a check tells, in the order of the segments. */
export type VerifyEvent = Finding | Note | VerifyProgress;

interface Totals {
  segments: number;
  frames: number;
  records: bigint;
  bytes: number;
}

/** What is the same for all segments of the stream that is checked. */
interface Check {
  readonly store: BlobReader;
  readonly name: string;
  readonly metadata: StreamMetadata;
  startOffset: bigint;
  readonly seed: number;
  readonly limits: ProducerLimits;
  readonly producers: ProducerTable;
  readonly totals: Totals;
}

/** Enough to compare the producers of any vault with usual limits. */
const producerLimits: ProducerLimits = { producersMax: 10_000, producerRequestsMax: 64, producerWindowMs: Infinity };

/** A last segment that is being written is looked at again, at most so often. */
const looksMax = 5;

/** Checks the stream `name`. Finding nothing is the good answer. */
export async function* verifyStream(store: BlobReader, name: string): AsyncGenerator<VerifyEvent> {
  const metadata = await metadataOf(store, name);
  if (typeof metadata === "string") {
    yield finding(metadataBlob(name), undefined, metadata);
    return;
  }
  const check: Check = {
    store,
    name,
    metadata,
    startOffset: metadata.startOffset,
    seed: incarnationSeed(metadata.incarnation),
    limits: producerLimits,
    producers: new ProducerTable(producerLimits),
    totals: { segments: 0, frames: 0, records: 0n, bytes: 0 },
  };
  const segments = await listSegments(store, segmentPrefix(name, metadata.incarnation));
  // Read once more: what was trimmed before the listing is not missing.
  const trimmed = await metadataOf(store, name);
  if (typeof trimmed !== "string") check.startOffset = trimmed.startOffset;
  const first = segments[0];
  if (first === undefined) yield { kind: "note", blob: name, text: "the stream has no segment yet" };
  else yield* verifySegments(check, segments, first);
}

/** The stream's metadata; a sentence where there is none that can be understood. */
async function metadataOf(store: BlobReader, name: string): Promise<StreamMetadata | string> {
  try {
    return (await readMetadata(store, name))?.metadata ?? "there is no such stream";
  } catch (error) {
    if (isKind(error, "corrupt")) return error.message;
    throw error;
  }
}

async function* verifySegments(
  check: Check,
  segments: readonly ListedSegment[],
  first: ListedSegment,
): AsyncGenerator<VerifyEvent> {
  const { startOffset } = check;
  if (first.firstOffset > startOffset) {
    yield finding(first.blob, undefined, `records from ${startOffset} to ${first.firstOffset} are missing`);
  }
  let state = scanStart(first.firstOffset, 0);
  for (const [at, segment] of segments.entries()) {
    if (segment.firstOffset !== state.nextOffset) {
      yield finding(
        segment.blob,
        0,
        `begins with offset ${segment.firstOffset}, but ${state.nextOffset} should follow`,
      );
    }
    state = { ...scanStart(segment.firstOffset, state.timestamp), epoch: state.epoch };
    try {
      yield* verifySegment(check, segment, state, at === segments.length - 1);
    } catch (error) {
      if (!isKind(error, "notFound")) throw error;
      const next = segments[at + 1];
      yield* goneSegment(check, segment, next);
      state.nextOffset = next?.firstOffset ?? state.nextOffset;
      continue;
    }
    check.totals.segments++;
    check.totals.bytes += state.position;
    yield { kind: "progress", blob: segment.blob, ...check.totals, nextOffset: state.nextOffset };
  }
  if (!state.sealed && state.nextOffset < startOffset) {
    yield finding(
      segments.at(-1)!.blob,
      undefined,
      `ends at ${state.nextOffset}, before the stream's start ${startOffset}`,
    );
  }
}

/** A segment that was listed and is not there any more: trimmed, or deleted with its stream, or lost. */
async function* goneSegment(
  check: Check,
  segment: ListedSegment,
  next: ListedSegment | undefined,
): AsyncGenerator<VerifyEvent> {
  const now = await metadataOf(check.store, check.name);
  const deleted = typeof now === "string" || now.incarnation !== check.metadata.incarnation;
  if (deleted || (next !== undefined && next.firstOffset <= now.startOffset)) {
    yield { kind: "note", blob: segment.blob, text: "was deleted while it was looked at" };
  } else {
    yield finding(segment.blob, undefined, "the segment is gone");
  }
}

/** Walks one segment and leaves `state` at its end. */
async function* verifySegment(
  check: Check,
  segment: ListedSegment,
  state: ScanState,
  last: boolean,
): AsyncGenerator<VerifyEvent> {
  const source: SegmentSource = { store: check.store, blob: segment.blob, seed: check.seed };
  // Before the frames are read: what it names must be there then.
  const stored = await check.store.get(segment.indexBlob);
  const { incarnation } = check.metadata;
  const checkpoint = stored && decodeCheckpoint(stored.bytes, incarnation, segment.firstOffset, check.limits);
  if (stored !== undefined && checkpoint === undefined) {
    yield finding(segment.indexBlob, undefined, "the index is damaged, or of another segment");
  }
  const entries = new Map(checkpoint?.index.entries.map((entry) => [entry.position, entry]));
  for (let look = 1; !state.sealed; look++) {
    const etag = (await check.store.properties(segment.blob))?.etag;
    for await (const frame of scanFrames(source, state)) yield* verifyFrame(check, segment, frame, entries, checkpoint);
    if (state.sealed) break;
    const stop = await judgeStop(source, state, checkpoint);
    const moved = last && (await check.store.properties(segment.blob))?.etag !== etag;
    if (stop.kind === "end" || (moved && look >= looksMax)) break;
    if (moved) continue;
    if (stop.kind === "torn") {
      yield {
        kind: "note",
        blob: segment.blob,
        text: `a commit that was never acknowledged is torn at ${state.position}`,
      };
      break;
    }
    yield finding(segment.blob, state.position, `damaged: offset ${state.nextOffset} should be here`);
    Object.assign(state, stop.resume);
  }
  if (!last && !state.sealed) yield finding(segment.blob, state.position, "ends without a seal, but another follows");
  for (const entry of entries.values())
    yield finding(segment.indexBlob, entry.position, "the index names no frame here");
}

function* verifyFrame(
  check: Check,
  segment: ListedSegment,
  frame: Frame,
  entries: Map<number, IndexEntry>,
  checkpoint: Checkpoint | undefined,
): Generator<Finding> {
  check.totals.frames++;
  check.totals.records += BigInt(frame.recordCount);
  check.producers.recordFrame(frame);
  const problem = recordsProblem(frame);
  if (problem !== undefined) yield finding(segment.blob, frame.position, problem);
  const entry = entries.get(frame.position);
  entries.delete(frame.position);
  if (entry !== undefined && (entry.firstOffset !== frame.firstOffset || entry.timestamp !== frame.timestamp)) {
    yield finding(
      segment.indexBlob,
      frame.position,
      `the index has offset ${entry.firstOffset} for ${frame.firstOffset}`,
    );
  }
  if (checkpoint !== undefined && frame.endPosition === checkpoint.endPosition) {
    const where = segment.indexBlob;
    for (const text of checkpointProblems(check, frame, checkpoint)) yield finding(where, frame.position, text);
  }
}

/** What is wrong with the records of a frame whose checksum is right; undefined if nothing is. */
function recordsProblem(frame: Frame): string | undefined {
  const isData = (frame.flags & frameFlags.data) !== 0;
  if (!isData) return frame.recordCount === 0 && frame.payload.length === 0 ? undefined : "a seal holds records";
  const { count, problem } = walkRecords(frame.payload, frame.firstOffset, encodeTimestampField(frame.timestamp));
  if (problem !== undefined || count === frame.recordCount) return problem;
  return `holds ${count} records, its header says ${frame.recordCount}`;
}

/** Compares a checkpoint with what the frames say at the frame that it names. */
function* checkpointProblems(check: Check, frame: Frame, checkpoint: Checkpoint): Generator<string> {
  if (checkpoint.nextOffset !== frame.nextOffset)
    yield `the index ends at ${checkpoint.nextOffset}, not ${frame.nextOffset}`;
  if (checkpoint.lastTimestamp !== frame.timestamp) yield "the index has another last timestamp";
  if (checkpoint.sealed !== ((frame.flags & frameFlags.seal) !== 0)) yield "the index is wrong about the seal";
  const seen = new Map(check.producers.entries());
  for (const [id, requests] of checkpoint.producers.entries()) {
    const newest = requests.at(-1);
    const found = seen.get(id)?.at(-1);
    // What was published before the first segment that is kept cannot be compared.
    if (found === undefined || newest === undefined) continue;
    const same = newest.sequence === found.sequence && newest.checksum === found.checksum;
    if (!same) yield `the index has sequence ${newest.sequence} for producer ${id}, the frames ${found.sequence}`;
  }
}

function finding(blob: string, position: number | undefined, problem: string): Finding {
  return { kind: "finding", blob, position, problem };
}
