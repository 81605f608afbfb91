/**
 * Opening a stream for writing: after a start, after a failover, and to settle what became of a write whose outcome is
 * not known. First the fence, then the end: what is read after the raise cannot change any more by older hands.
 */
import type { Fence } from "../blob/blob-store.ts";
import { isKind, VaultError } from "../errors.ts";
import { incarnationSeed } from "../segment/format.ts";
import { decodeCheckpoint, encodeCheckpoint } from "../segment/offset-index.ts";
import { type ProducerLimits, ProducerTable } from "../segment/producers.ts";
import { recoverSegment, type RecoveredSegment, type SegmentBase, trustCheckpoint } from "../segment/recovery.ts";
import { rememberWindow } from "../segment/remember-window.ts";
import { SegmentWriter } from "../segment/writer.ts";
import type { StreamSettings } from "./commands.ts";
import { finishDeletion } from "./delete-stream.ts";
import type { Engine } from "./engine.ts";
import { effectiveSettings, readMetadata, segmentPrefix, type StreamMetadata, streamNotFound } from "./metadata.ts";
import { type ListedSegment, listSegments } from "./segment-list.ts";
import { checkStillSealed, type CreatedSegment, createNextSegment, emptyWriter, StreamLog } from "./stream-log.ts";

/** What is the same for each try to open one stream. */
interface Opening {
  readonly engine: Engine;
  readonly name: string;
  readonly metadata: StreamMetadata;
  readonly settings: StreamSettings;
  readonly limits: ProducerLimits;
  readonly prefix: string;
  readonly seed: number;
}

/** Others may roll, create or delete while a stream is opened: then it is looked at again, at most so often. */
const attemptsMax = 8;

/**
 * Opens the stream's log for writing under the node's fence. Throws `unavailable` if this node does not lead, `fenced`
 * if a newer leader is found, `notFound` if the stream turns out to be deleted, else what storage throws.
 */
export async function openLog(engine: Engine, name: string, metadata: StreamMetadata): Promise<StreamLog> {
  const settings = effectiveSettings(metadata.settings, engine.settings.streamDefaults);
  const { producersMax, producerRequestsMax } = engine.settings;
  const opening: Opening = {
    engine,
    name,
    metadata,
    settings,
    limits: { producersMax, producerRequestsMax, producerWindowMs: settings.producerWindowMs },
    prefix: segmentPrefix(name, metadata.incarnation),
    seed: incarnationSeed(metadata.incarnation),
  };
  for (let attempt = 1; attempt <= attemptsMax; attempt++) {
    const log = await tryOpen(opening);
    if (log !== undefined) return log;
  }
  throw new VaultError("unavailable", `stream ${name} changes while it is opened; try again`, { retryAfterMs: 1000 });
}

/** One try; undefined where somebody else changed what was looked at. */
async function tryOpen(opening: Opening): Promise<StreamLog | undefined> {
  const { engine, prefix } = opening;
  const fence = engine.leadership.fence();
  const segments = await listSegments(engine.store, prefix);
  const last = segments.at(-1);
  if (last === undefined) return openFirst(opening, fence);
  const raised = await raise(opening, fence, last);
  if (raised === undefined) return undefined;
  const recovered = await readEnd(opening, segments, raised.sizeBytes);
  // A newer leader raised the number after us, and what it has written there must not be taken for ours.
  if (recovered === undefined || recovered.lastEpoch > fence.epoch) return undefined;
  if (!(await isStillLast(opening, recovered))) return undefined;
  const writer = writerOf(opening, fence, last, raised, recovered);
  if (recovered.endOfStream) {
    await finishDeletion(engine, opening.name, opening.metadata.incarnation);
    throw streamNotFound(opening.name);
  }
  if (recovered.sealed) return openNext(opening, fence, segments, writer, recovered);
  if (recovered.dirty) {
    try {
      await writer.clearBehindEnd();
    } catch (error) {
      if (isKind(error, "conflict", "notFound", "indeterminate")) return undefined;
      throw error;
    }
  }
  return logOf(opening, fence, segments.slice(0, -1), writer, recovered);
}

/** What the last segment holds; undefined where a segment that was listed is gone: it was trimmed, or the stream deleted. */
async function readEnd(
  opening: Opening,
  segments: readonly ListedSegment[],
  sizeBytes: number,
): Promise<RecoveredSegment | undefined> {
  try {
    return await recover(opening, segments, segments.length - 1, sizeBytes);
  } catch (error) {
    if (isKind(error, "notFound")) return undefined;
    throw error;
  }
}

/**
 * Whether a segment that carries our epoch is part of the stream still. A create that arrives late makes it anew, empty,
 * when others had filled, sealed and trimmed it, or deleted the stream: then the start lies behind its end. Asked when
 * the number is raised: whoever comes later finds it. Throws `notFound` where the stream is gone.
 */
async function isStillLast({ engine, name, metadata }: Opening, recovered: RecoveredSegment): Promise<boolean> {
  const known = await readMetadata(engine.store, name);
  if (known?.metadata.incarnation !== metadata.incarnation) {
    // A deletion that was cut short has its seal there: whoever finds it finishes it.
    if (recovered.endOfStream) return true;
    throw streamNotFound(name);
  }
  return known.metadata.startOffset <= recovered.nextOffset;
}

/**
 * A stream without a segment was created just now, or its creator stopped half way; or it was deleted meanwhile. Then
 * nothing is created, as who still reads it would find an empty segment in place of its records.
 */
async function openFirst(opening: Opening, fence: Fence): Promise<StreamLog | undefined> {
  const { engine, name, metadata } = opening;
  const known = await readMetadata(engine.store, name);
  if (known?.metadata.incarnation !== metadata.incarnation) throw streamNotFound(name);
  const base = emptyBase(opening, opening.metadata.startOffset);
  return createAndOpen(opening, fence, [], base.firstOffset, base);
}

/** The last segment is sealed: its leader stopped before the next one was there. */
async function openNext(
  opening: Opening,
  fence: Fence,
  segments: ListedSegment[],
  sealed: SegmentWriter,
  recovered: RecoveredSegment,
): Promise<StreamLog | undefined> {
  const state = { timestamp: recovered.lastTimestamp, producers: recovered.producers };
  return createAndOpen(opening, fence, segments, recovered.nextOffset, state, sealed);
}

async function createAndOpen(
  opening: Opening,
  fence: Fence,
  segments: ListedSegment[],
  firstOffset: bigint,
  state: Pick<SegmentBase, "timestamp" | "producers">,
  sealed?: SegmentWriter,
): Promise<StreamLog | undefined> {
  const { engine, prefix, settings } = opening;
  try {
    const created = await createNextSegment(engine, fence, prefix, firstOffset, settings);
    if (sealed !== undefined) await checkStillSealed(engine, sealed, created);
    else if (!(await isStillFirst(opening, created))) return undefined;
    const { producers, timestamp: lastTimestamp } = state;
    const identity = { fence, incarnation: opening.metadata.incarnation, seed: opening.seed, producers, lastTimestamp };
    const writer = emptyWriter(engine, identity, prefix, created, settings);
    return logOf(opening, fence, segments, writer, {
      nextOffset: firstOffset,
      lastTimestamp,
      producers,
      damages: [],
      lastFrame: undefined,
    });
  } catch (error) {
    // It is there, by an earlier try of ours or by another leader: then it is fenced like any last segment.
    if (isKind(error, "alreadyExists", "indeterminate")) return undefined;
    throw error;
  }
}

/**
 * Whether a segment that was just created is the stream's first: not if another leader had made, filled and trimmed it
 * meanwhile, so that the start lies behind it. Throws `notFound` where the stream was deleted: metadata goes before the
 * segments do. What should not have been created is removed.
 */
async function isStillFirst({ engine, name, metadata }: Opening, created: CreatedSegment): Promise<boolean> {
  const known = await readMetadata(engine.store, name);
  const deleted = known?.metadata.incarnation !== metadata.incarnation;
  if (!deleted && known.metadata.startOffset <= created.firstOffset) return true;
  const removing = engine.store.remove(created.blob, created.etag);
  if (!deleted) {
    await removing;
    return false;
  }
  // The sweep removes what stays.
  await removing.catch((error: unknown) => engine.log.warn("segment not removed", { blob: created.blob, error }));
  throw streamNotFound(name);
}

/** A segment that carries our epoch. */
interface Raised {
  readonly etag: string;
  readonly sizeBytes: number;
}

/** Raises the segment's sequence number to our epoch; undefined if somebody changed the segment meanwhile. */
async function raise(opening: Opening, fence: Fence, segment: ListedSegment): Promise<Raised | undefined> {
  const { store, leadership } = opening.engine;
  const properties = await store.properties(segment.blob);
  if (properties === undefined) return undefined;
  // Raising would not change the number, but disturb whoever owns the segment: it changes the version.
  if (properties.sequenceNumber > fence.epoch) {
    await leadership.claimAbove(properties.sequenceNumber);
    return undefined;
  }
  try {
    const raised = await store.raiseFence(segment.blob, properties.etag, fence);
    if (raised.sequenceNumber === fence.epoch) return { etag: raised.etag, sizeBytes: properties.sizeBytes };
    await leadership.claimAbove(raised.sequenceNumber);
    return undefined;
  } catch (error) {
    if (isKind(error, "conflict", "notFound", "indeterminate")) return undefined;
    throw error;
  }
}

/** The stream's state before segment `at`: from the last index before it, and the frames behind that. */
async function baseOf(opening: Opening, segments: readonly ListedSegment[], at: number): Promise<SegmentBase> {
  const segment = segments[at]!;
  const previous = segments[at - 1];
  if (previous === undefined) return emptyBase(opening, segment.firstOffset);
  const checkpoint = await readCheckpoint(opening, previous);
  if (checkpoint?.sealed === true) {
    const { lastTimestamp, producers } = checkpoint;
    return { firstOffset: segment.firstOffset, timestamp: lastTimestamp, producers };
  }
  const recovered = await recover(opening, segments, at - 1);
  if (recovered.sealed) await putMissingIndex(opening, previous, recovered);
  return { firstOffset: segment.firstOffset, timestamp: recovered.lastTimestamp, producers: recovered.producers };
}

/** Whoever sealed the segment stopped before its index was there: all who open or read it would have to walk it again. */
async function putMissingIndex(opening: Opening, segment: ListedSegment, recovered: RecoveredSegment): Promise<void> {
  const { store, log } = opening.engine;
  const { lastFrame, index } = recovered;
  if (lastFrame !== undefined) index.add(lastFrame, true);
  const bytes = encodeCheckpoint(opening.metadata.incarnation, segment.firstOffset, recovered);
  await store.put(segment.indexBlob, bytes, "always").catch((error: unknown) => {
    log.warn("index not written", { blob: segment.indexBlob, error });
  });
}

/** What segment `at` holds. */
async function recover(
  opening: Opening,
  segments: readonly ListedSegment[],
  at: number,
  sizeBytes?: number,
): Promise<RecoveredSegment> {
  const segment = segments[at]!;
  // It carries our epoch, or a seal: who changes it all the same is a newer leader, and our writes are refused then.
  const source = rememberWindow({ store: opening.engine.store, blob: segment.blob, seed: opening.seed }, sizeBytes);
  const checkpoint = await readCheckpoint(opening, segment);
  // A checkpoint says what came before, too: then the segments before are not asked. They may have been trimmed, and a
  // request that came late may have made one of them anew, empty.
  const bare = emptyBase(opening, segment.firstOffset);
  const trusted = checkpoint && (await trustCheckpoint(source, bare, checkpoint));
  const base = trusted === undefined ? await baseOf(opening, segments, at) : bare;
  const recovered = await recoverSegment(source, base, checkpoint);
  for (const damage of recovered.damages) {
    opening.engine.log.error("storage is damaged", { blob: segment.blob, ...damage, offset: String(damage.offset) });
  }
  return recovered;
}

async function readCheckpoint(opening: Opening, segment: ListedSegment) {
  if (!segment.indexed) return undefined;
  const stored = await opening.engine.store.get(segment.indexBlob);
  const { incarnation } = opening.metadata;
  return stored && decodeCheckpoint(stored.bytes, incarnation, segment.firstOffset, opening.limits);
}

function emptyBase(opening: Opening, firstOffset: bigint): SegmentBase {
  return { firstOffset, timestamp: 0, producers: new ProducerTable(opening.limits) };
}

function writerOf(
  opening: Opening,
  fence: Fence,
  segment: ListedSegment,
  { etag, sizeBytes }: Raised,
  recovered: RecoveredSegment,
): SegmentWriter {
  const { engine, metadata, seed } = opening;
  const { blob, indexBlob, firstOffset } = segment;
  const identity = {
    store: engine.store,
    fence,
    incarnation: metadata.incarnation,
    seed,
    blob,
    indexBlob,
    firstOffset,
  };
  return new SegmentWriter({ ...identity, sizeBytes }, etag, recovered);
}

function logOf(
  opening: Opening,
  fence: Fence,
  sealed: ListedSegment[],
  writer: SegmentWriter,
  recovered: Pick<RecoveredSegment, "nextOffset" | "lastTimestamp" | "producers" | "damages" | "lastFrame">,
): StreamLog {
  const { engine, metadata, seed, prefix } = opening;
  return new StreamLog(engine, {
    fence,
    incarnation: metadata.incarnation,
    seed,
    prefix,
    sealed,
    writer,
    recovered,
  });
}
