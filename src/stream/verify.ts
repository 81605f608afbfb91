/**
 * Checking a stream on storage: every frame and record, seals, the continuity of offsets and times, indexes, producers
 * and metadata. Nothing is changed, and the vault may run meanwhile. What that does is told from damage like this:
 *
 * - A frame that is not whole is damage if storage's version of the segment stayed the same around the look, or if it
 *   is so at two looks and had been acknowledged at the first: a later commit follows, or the index names it. Else it is
 *   looked at again, and left alone if it is whole then, or if the vault goes on writing.
 * - What is missing is looked for again, in a new listing and new metadata: it may have been trimmed or deleted, and a
 *   listing that ran meanwhile need not show all that was there.
 */
import { type BlobReader, listLimitMax } from "../blob/blob-store.ts";
import { type Clock, sleep } from "../clock.ts";
import { isKind } from "../errors.ts";
import { encodeTimestampField } from "../segment/commit.ts";
import { type Frame, frameFlags, incarnationSeed } from "../segment/format.ts";
import { type Checkpoint, decodeCheckpoint, type IndexEntry } from "../segment/offset-index.ts";
import { type ProducerLimits, ProducerTable } from "../segment/producers.ts";
import { walkRecords } from "../segment/records.ts";
import { judgeStop } from "../segment/recovery.ts";
import { type ScanState, scanFrames, scanStart, type SegmentSource } from "../segment/scan.ts";
import { metadataBlob, readMetadata, segmentPrefix, type StreamMetadata, streamNotFound } from "./metadata.ts";
import { indexBlob, type ListedSegment, listSegments, segmentBlob } from "./segment-list.ts";

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
  readonly clock: Clock;
  readonly name: string;
  readonly metadata: StreamMetadata;
  /** As of after the listing. */
  readonly startOffset: bigint;
  readonly seed: number;
  readonly limits: ProducerLimits;
  /** As of what was read without a gap. */
  producers: ProducerTable;
  readonly totals: Totals;
  /** Whether a seal said that the stream was deleted. */
  endOfStream: boolean;
}

/** Enough to compare the producers of any vault with usual limits. */
const producerLimits: ProducerLimits = { producersMax: 10_000, producerRequestsMax: 64, producerWindowMs: Infinity };

/** A place in a segment that is being written is looked at again, at most so often, after so many milliseconds. */
const looksMax = 12;
const lookAgainMs = 250;

/** How often the segments are listed at most, where those that were listed are gone. */
const listingsMax = 20;

/** Checks the stream `name`. Finding nothing is the good answer. Throws `notFound` where nothing is stored of it. */
export async function* verifyStream(store: BlobReader, name: string, clock: Clock): AsyncGenerator<VerifyEvent> {
  const metadata = await metadataOf(store, name);
  if (typeof metadata === "string") {
    yield finding(metadataBlob(name), undefined, metadata);
    return;
  }
  yield* verifyOthers(store, name, metadata?.incarnation);
  if (metadata === undefined) return;
  const segments = await listSegments(store, segmentPrefix(name, metadata.incarnation));
  // Read once more: what was trimmed before the listing is not missing.
  const trimmed = await metadataOf(store, name);
  const check: Check = {
    store,
    clock,
    name,
    metadata,
    startOffset: typeof trimmed === "object" ? trimmed.startOffset : metadata.startOffset,
    seed: incarnationSeed(metadata.incarnation),
    limits: producerLimits,
    producers: new ProducerTable(producerLimits),
    totals: { segments: 0, frames: 0, records: 0n, bytes: 0 },
    endOfStream: false,
  };
  const first = segments[0];
  if (first === undefined) yield note(metadataBlob(name), "the stream has no segment yet");
  else yield* verifySegments(check, segments, first);
}

/** The stream's metadata; undefined where there is none, a sentence where it cannot be understood. */
async function metadataOf(store: BlobReader, name: string): Promise<StreamMetadata | string | undefined> {
  try {
    return (await readMetadata(store, name))?.metadata;
  } catch (error) {
    if (isKind(error, "corrupt")) return error.message;
    throw error;
  }
}

/** Checks that what is stored of other incarnations than the one that stream.json names, if any, had been deleted. */
async function* verifyOthers(store: BlobReader, name: string, own: string | undefined): AsyncGenerator<VerifyEvent> {
  const prefix = `streams/${name}/`;
  const { items: folders } = await store.listFolders(prefix, listLimitMax);
  const others = folders.map((folder) => folder.slice(prefix.length)).filter((incarnation) => incarnation !== own);
  if (others.length === 0 && own === undefined) throw streamNotFound(name);
  for (const incarnation of others) {
    const alive = await isAlive(store, name, incarnation);
    const now = await metadataOf(store, name);
    // Deleted, or created again, while it was looked at.
    if (typeof now !== "string" && now?.incarnation !== own) return;
    const blob = metadataBlob(name);
    if (!alive) yield note(blob, `a deletion has left incarnation ${incarnation}; the vault removes it by and by`);
    else if (own === undefined) yield finding(blob, undefined, `is missing, but incarnation ${incarnation} is there`);
    else yield finding(blob, undefined, `names incarnation ${own}, but ${incarnation} is there too, and not deleted`);
  }
}

/** Whether an incarnation has records and was not deleted: its last segment does not end in an end of the stream. */
async function isAlive(store: BlobReader, name: string, incarnation: string): Promise<boolean> {
  const segments = await listSegments(store, segmentPrefix(name, incarnation));
  const last = segments.at(-1);
  if (last === undefined) return false;
  const source = { store, blob: last.blob, seed: incarnationSeed(incarnation) };
  let frames = segments.length - 1;
  try {
    for await (const frame of scanFrames(source, scanStart(last.firstOffset, 0))) {
      if (isEndOfStream(frame)) return false;
      frames++;
    }
  } catch (error) {
    if (isKind(error, "notFound")) return false;
    if (!isKind(error, "corrupt")) throw error;
  }
  return frames > 0;
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
  let queue = [...segments];
  let state = scanStart(first.firstOffset, 0);
  let cut = false;
  let listings = 1;
  for (let segment = queue.shift(); segment !== undefined; segment = queue.shift()) {
    if (segment.firstOffset !== state.nextOffset) {
      const unlisted = await listBetween(check, state.nextOffset, segment.firstOffset);
      if (unlisted.length > 0) {
        queue.unshift(...unlisted, segment);
        continue;
      }
      yield* verifyGap(check, segment, state.nextOffset);
    }
    if (check.endOfStream) yield finding(segment.blob, 0, "follows the end of the stream");
    state = { ...scanStart(segment.firstOffset, state.timestamp), epoch: state.epoch };
    try {
      yield* verifySegment(check, segment, state, queue.length === 0);
      cut = false;
    } catch (error) {
      const later = isKind(error, "notFound") ? await listBetween(check, segment.firstOffset + 1n) : [];
      yield await explainFailure(check, segment, later[0], error);
      // What follows may be gone as well: from here on by the newer listing, unless trimming is faster than reading.
      if (later.length > 0 && listings < listingsMax) {
        queue = later;
        listings++;
      }
      cut = true;
      check.producers = new ProducerTable(check.limits);
      state.nextOffset = queue[0]?.firstOffset ?? state.nextOffset;
      continue;
    }
    check.totals.segments++;
    check.totals.bytes += state.position;
    yield { kind: "progress", blob: segment.blob, ...check.totals, nextOffset: state.nextOffset };
  }
  if (!cut) yield* verifyEnd(check, state);
}

/** The segments from offset `from` on, to before `to`, as they are now. */
async function listBetween(check: Check, from: bigint, to?: bigint): Promise<ListedSegment[]> {
  const segments = await listSegments(check.store, segmentPrefix(check.name, check.metadata.incarnation));
  return segments.filter(({ firstOffset }) => firstOffset >= from && (to === undefined || firstOffset < to));
}

/** Whether everything before `segment` may be gone: it was trimmed, or the stream was deleted. */
async function mayBeGoneBefore(check: Check, segment: ListedSegment | undefined): Promise<boolean> {
  const now = await metadataOf(check.store, check.name);
  if (typeof now === "string") return false;
  if (now?.incarnation !== check.metadata.incarnation) return true;
  return segment !== undefined && segment.firstOffset <= now.startOffset;
}

async function* verifyGap(check: Check, segment: ListedSegment, offset: bigint): AsyncGenerator<VerifyEvent> {
  check.producers = new ProducerTable(check.limits);
  if (segment.firstOffset > offset && (await mayBeGoneBefore(check, segment))) return;
  yield finding(segment.blob, 0, `begins with offset ${segment.firstOffset}, but ${offset} should follow`);
}

/** What it means that a segment could not be read. Throws `error` where that tells nothing about the segment. */
async function explainFailure(
  check: Check,
  segment: ListedSegment,
  next: ListedSegment | undefined,
  error: unknown,
): Promise<VerifyEvent> {
  if (isKind(error, "corrupt")) return finding(error.detail.resource ?? segment.blob, undefined, error.message);
  if (!isKind(error, "notFound")) throw error;
  return (await mayBeGoneBefore(check, next))
    ? note(segment.blob, "was deleted while it was looked at")
    : finding(segment.blob, undefined, "the segment is gone");
}

/** Checks what should be behind the last segment that was listed, which was read to its end. */
async function* verifyEnd(check: Check, state: ScanState): AsyncGenerator<VerifyEvent> {
  const { store, startOffset } = check;
  const prefix = segmentPrefix(check.name, check.metadata.incarnation);
  if (!state.sealed) {
    if (state.nextOffset >= startOffset) return;
    yield finding(
      metadataBlob(check.name),
      undefined,
      `the stream ends at ${state.nextOffset}, before its start ${startOffset}`,
    );
    return;
  }
  const segment = segmentBlob(prefix, state.nextOffset);
  const index = indexBlob(prefix, state.nextOffset);
  // In this order: a segment is there before its index, and goes after it.
  for (const [blob, there] of [
    [index, true],
    [segment, false],
    [index, true],
  ] as const) {
    if (((await store.properties(blob)) !== undefined) !== there) return;
  }
  yield finding(segment, undefined, "the segment is missing, but its index is there");
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
  let badPosition: number | undefined;
  for (let looks = 1; !state.sealed; looks++) {
    const version = await versionOf(check, segment);
    for await (const frame of scanFrames(source, state)) yield* verifyFrame(check, segment, frame, entries, checkpoint);
    if (state.sealed) break;
    const stop = await judgeStop(source, state, checkpoint);
    if (stop.kind === "end") break;
    const moved = last && (await versionOf(check, segment)) !== version;
    const acknowledged = stop.kind === "damage" && stop.acknowledged;
    const again = badPosition === state.position;
    if (moved && !(acknowledged && again)) {
      // The frame that was not whole is whole now, and the one that is not is the one that is being written.
      const live = badPosition !== undefined && !again && !acknowledged;
      if (live) break;
      if (looks >= looksMax) {
        yield note(segment.blob, `is being written at ${state.position}: not checked from there on`);
        break;
      }
      badPosition = state.position;
      await sleep(check.clock, lookAgainMs);
    } else if (stop.kind === "torn") {
      yield note(segment.blob, `a commit that was never acknowledged is torn at ${state.position}`);
      break;
    } else {
      yield finding(segment.blob, state.position, `damaged: offset ${state.nextOffset} should be here`);
      Object.assign(state, stop.resume);
      check.producers = new ProducerTable(check.limits);
      badPosition = undefined;
    }
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
  if (isEndOfStream(frame)) check.endOfStream = true;
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

function isEndOfStream(frame: Frame): boolean {
  return (frame.flags & frameFlags.endOfStream) !== 0;
}

async function versionOf(check: Check, segment: ListedSegment): Promise<string | undefined> {
  return (await check.store.properties(segment.blob))?.etag;
}

function note(blob: string, text: string): Note {
  return { kind: "note", blob, text };
}

function finding(blob: string, position: number | undefined, problem: string): Finding {
  return { kind: "finding", blob, position, problem };
}
