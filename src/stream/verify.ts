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
import type { BlobReader } from "../blob/blob-store.ts";
import { type Clock, sleep } from "../clock.ts";
import { isKind } from "../errors.ts";
import { encodeTimestampField } from "../segment/commit.ts";
import { type Frame, frameFlags, headerBytes, incarnationSeed } from "../segment/format.ts";
import { type Checkpoint, decodeCheckpoint, type IndexEntry } from "../segment/offset-index.ts";
import { type ProducerLimits, ProducerTable } from "../segment/producers.ts";
import { walkRecords } from "../segment/records.ts";
import { isZero, judgeStop } from "../segment/recovery.ts";
import { type ScanState, scanFrames, scanStart, type SegmentSource } from "../segment/scan.ts";
import { metadataBlob, segmentPrefix, type StreamMetadata } from "./metadata.ts";
import { indexBlob, type ListedSegment, listSegments, segmentBlob } from "./segment-list.ts";
import { type Finding, finding, note, type VerifyEvent } from "./verify-events.ts";
import { isEndOfStream, metadataOf, verifyOthers } from "./verify-incarnations.ts";

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
  /** As of after the latest listing. */
  startOffset: bigint;
  readonly seed: number;
  readonly limits: ProducerLimits;
  /** As of what was read without a gap. */
  producers: ProducerTable;
  readonly totals: Totals;
  /** Whether a seal said that the stream was deleted. */
  endOfStream: boolean;
}

/** Where the check of a stream's segments stands. */
interface Walk {
  /** The segments that come next. */
  queue: ListedSegment[];
  state: ScanState;
  /** Whether the last segment was read to its end. */
  whole: boolean;
  listings: number;
}

/** Enough to compare the producers of any vault with usual limits. */
const producerLimits: ProducerLimits = { producersMax: 10_000, producerRequestsMax: 64, producerWindowMs: Infinity };

/** A place in a segment that is being written is looked at again, at most so often, after so many milliseconds. */
const looksMax = 12;
const lookAgainMs = 250;

/** How often a segment that is missing is looked for, and how often in all the segments are listed anew. */
const missingLooksMax = 3;
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
  const check: Check = {
    store,
    clock,
    name,
    metadata,
    startOffset: metadata.startOffset,
    seed: incarnationSeed(metadata.incarnation),
    limits: producerLimits,
    producers: new ProducerTable(producerLimits),
    totals: { segments: 0, frames: 0, records: 0n, bytes: 0 },
    endOfStream: false,
  };
  const { segments } = await listAgain(check, 0n, true);
  if (segments.length === 0) yield note(metadataBlob(name), "the stream has no segment yet");
  else yield* verifySegments(check, segments);
}

async function* verifySegments(check: Check, segments: readonly ListedSegment[]): AsyncGenerator<VerifyEvent> {
  const first = segments[0]!.firstOffset;
  const start = first < check.startOffset ? first : check.startOffset;
  const walk: Walk = { queue: [...segments], state: scanStart(start, 0), whole: true, listings: 1 };
  for (let segment = walk.queue.shift(); segment !== undefined; segment = walk.queue.shift()) {
    if (walk.listings > listingsMax) {
      yield note(segment.blob, "is not checked: the stream is trimmed faster than it is read");
      return;
    }
    if (segment.firstOffset !== walk.state.nextOffset) {
      if (await isExplained(check, walk, segment)) continue;
      yield gapBefore(segment, walk.state.nextOffset);
    }
    if (check.endOfStream) yield finding(segment.blob, 0, "follows the end of the stream");
    walk.state = { ...scanStart(segment.firstOffset, walk.state.timestamp), epoch: walk.state.epoch };
    try {
      yield* verifySegment(check, segment, walk.state, walk.queue[0]);
    } catch (error) {
      yield await explainFailure(check, walk, segment, error);
      continue;
    }
    walk.whole = true;
    check.totals.segments++;
    check.totals.bytes += walk.state.position;
    yield { kind: "progress", blob: segment.blob, ...check.totals, nextOffset: walk.state.nextOffset };
  }
  if (walk.whole) yield* verifyEnd(check, walk.state);
}

/**
 * The segments from offset `from` on, as they are now, and whether it is explained that none begins at `from`: what
 * was before them was trimmed or deleted. Or one does, if it should be `there`.
 */
async function listAgain(
  check: Check,
  from: bigint,
  there: boolean,
): Promise<{ segments: ListedSegment[]; explained: boolean }> {
  const { incarnation } = check.metadata;
  for (let look = 1; ; look++) {
    const listed = await listSegments(check.store, segmentPrefix(check.name, incarnation));
    const segments = listed.filter(({ firstOffset }) => firstOffset >= from);
    const first = segments[0]?.firstOffset;
    // After the listing: what was trimmed before it is not missing.
    const now = await metadataOf(check.store, check.name);
    const deleted = typeof now !== "string" && now?.incarnation !== incarnation;
    if (typeof now === "object" && !deleted) check.startOffset = now.startOffset;
    const trimmed = first !== undefined && first <= check.startOffset;
    const found = there && (first ?? 0n) === from;
    if (deleted || trimmed || found) return { segments, explained: true };
    if (look === missingLooksMax) return { segments, explained: false };
    await sleep(check.clock, lookAgainMs);
  }
}

/** Whether `segment` is not what follows only because of a listing that is not true any more. */
async function isExplained(check: Check, walk: Walk, segment: ListedSegment): Promise<boolean> {
  check.producers = new ProducerTable(check.limits);
  if (segment.firstOffset < walk.state.nextOffset) return false;
  const { segments, explained } = await listAgain(check, walk.state.nextOffset, true);
  if (explained) goOn(walk, segments);
  return explained;
}

function gapBefore(segment: ListedSegment, offset: bigint): VerifyEvent {
  const { blob, firstOffset } = segment;
  return firstOffset > offset
    ? finding(blob, 0, `records from ${offset} to ${firstOffset} are missing before it`)
    : finding(blob, 0, `begins with offset ${firstOffset}, but ${offset} should follow`);
}

/** What it means that a segment could not be read. Throws `error` where that tells nothing about the segment. */
async function explainFailure(check: Check, walk: Walk, segment: ListedSegment, error: unknown): Promise<VerifyEvent> {
  if (!isKind(error, "notFound", "corrupt")) throw error;
  check.producers = new ProducerTable(check.limits);
  walk.whole = false;
  const gone = error.kind === "notFound";
  const now = gone ? await listAgain(check, segment.firstOffset + 1n, false) : undefined;
  goOn(walk, now?.explained === true ? now.segments : walk.queue);
  if (now === undefined) return finding(error.detail.resource ?? segment.blob, undefined, error.message);
  if (!now.explained) return finding(segment.blob, undefined, "the segment is gone");
  return note(segment.blob, "was deleted while it was looked at");
}

function goOn(walk: Walk, segments: ListedSegment[]): void {
  walk.listings += walk.queue === segments ? 0 : 1;
  walk.queue = segments;
  walk.state.nextOffset = segments[0]?.firstOffset ?? walk.state.nextOffset;
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
  next: ListedSegment | undefined,
): AsyncGenerator<VerifyEvent> {
  const last = next === undefined;
  const source: SegmentSource = { store: check.store, blob: segment.blob, seed: check.seed };
  if (await isMadeAgain(check, source, next)) {
    yield note(segment.blob, "is empty, and lies before the stream's start: a request to make it came late");
    return;
  }
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

/** Whether a segment was trimmed away, and made again, empty, by a request that came late. */
async function isMadeAgain(check: Check, source: SegmentSource, next: ListedSegment | undefined): Promise<boolean> {
  if (next === undefined || next.firstOffset > check.startOffset) return false;
  const { bytes } = await check.store.read(source.blob, 0, headerBytes);
  return isZero(bytes, 0, bytes.length);
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

async function versionOf(check: Check, segment: ListedSegment): Promise<string | undefined> {
  return (await check.store.properties(segment.blob))?.etag;
}
