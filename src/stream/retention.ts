/**
 * Retention: what is older than a stream's age limit, or beyond its bytes, goes, in whole segments and without being
 * asked. The leader looks at one page of the listing at a time and opens a stream only where there is something to do.
 * It also removes what a deletion or a creation that was cut short has left behind.
 */
import { isDeepStrictEqual } from "node:util";
import type { BlobEntry } from "../blob/blob-store.ts";
import { sleep } from "../clock.ts";
import { incarnationSeed, readHeader, headerBytes } from "../segment/format.ts";
import { decodeCheckpoint } from "../segment/offset-index.ts";
import { noProducers, ProducerTable } from "../segment/producers.ts";
import { loadSealed } from "../segment/reader.ts";
import { recoverSegment } from "../segment/recovery.ts";
import type { StreamSettings } from "./commands.ts";
import { finishDeletion } from "./delete-stream.ts";
import type { Engine } from "./engine.ts";
import { effectiveSettings, readMetadata, removeReservation, segmentPrefix, type StreamMetadata } from "./metadata.ts";
import { listedSegment, type ListedSegment } from "./segment-list.ts";
import type { Vault } from "./vault.ts";

const pageLimit = 5000;
const folder = "streams/";
const metadataName = /^streams\/([^/]+)\/stream\.json$/;
const blobName = /^streams\/([^/]+)\/([0-9a-f]{32})\/(\d{20})\.(segment|index)$/;

/** One incarnation of a stream, as the listing shows it. */
interface ListedStream {
  readonly name: string;
  readonly incarnation: string;
  readonly segments: ListedSegment[];
}

/** Sweeps until `signal` is aborted. What fails is logged and tried again in the next round. */
export async function runRetention(engine: Engine, vault: Vault, signal: AbortSignal): Promise<void> {
  let from: string | undefined;
  let carried: ListedStream | undefined;
  while (!signal.aborted) {
    await sleep(engine.clock, engine.settings.retentionSweepMs, signal);
    if (signal.aborted || !engine.leadership.leads) continue;
    try {
      const page = await engine.store.list(folder, pageLimit, from);
      const streams = groupByStream(page.items, carried);
      // The last stream of a page may go on in the next one.
      carried = page.next === undefined ? undefined : streams.pop();
      from = page.next;
      for (const stream of streams) {
        await trySweep(engine, stream.name, () => sweepStream(engine, vault, stream, page.date));
      }
      for (const name of namesWithoutSegments(page.items, streams)) {
        await trySweep(engine, name, () => removeReservation(engine.store, name));
      }
    } catch (error) {
      engine.log.warn("retention sweep failed", { error });
      from = carried = undefined;
    }
  }
}

function groupByStream(items: readonly BlobEntry[], carried: ListedStream | undefined): ListedStream[] {
  const streams = carried === undefined ? [] : [carried];
  for (const item of items) {
    const [, name, incarnation, digits, kind] = blobName.exec(item.name) ?? [];
    if (name === undefined || incarnation === undefined || digits === undefined) continue;
    let stream = streams.at(-1);
    if (stream?.name !== name || stream.incarnation !== incarnation) {
      stream = { name, incarnation, segments: [] };
      streams.push(stream);
    }
    if (kind === "segment") stream.segments.push(listedSegment(segmentPrefix(name, incarnation), BigInt(digits)));
  }
  return streams;
}

/** What has a stream.json only: a stream that was made just now, or a reservation that nobody turned into one. */
function namesWithoutSegments(items: readonly BlobEntry[], streams: readonly ListedStream[]): string[] {
  const names = new Set(items.flatMap((item) => metadataName.exec(item.name)?.[1] ?? []));
  for (const stream of streams) names.delete(stream.name);
  return [...names];
}

/** One stream that is damaged or busy must not keep the others from being swept. */
async function trySweep(engine: Engine, stream: string, sweep: () => Promise<void>): Promise<void> {
  try {
    await sweep();
  } catch (error) {
    engine.log.warn("stream not swept", { stream, error });
  }
}

async function sweepStream(engine: Engine, vault: Vault, listed: ListedStream, date: number): Promise<void> {
  const known = await readMetadata(engine.store, listed.name);
  if (known?.metadata.incarnation !== listed.incarnation) {
    await sweepOrphan(engine, listed);
    return;
  }
  // A leader that was deposed and did not know it may have changed it since it was read here.
  const open = await vault.opened(listed.name);
  if (open !== undefined && !isDeepStrictEqual(open.metadata, known.metadata)) await open.refresh();
  const settings = effectiveSettings(known.metadata.settings, engine.settings.streamDefaults);
  await rollIfAged(engine, vault, listed, settings, date);
  const start = await retainedStart(engine, listed, known.metadata, settings, date);
  const second = listed.segments[1];
  if (second === undefined || second.firstOffset > start) return;
  engine.log.info("retention", { stream: listed.name, startOffset: String(start) });
  await vault.use(listed.name, (stream) => vault.moveStart(stream, start));
}

/**
 * Metadata is made before the segments and removed before them, so segments without it belong to a deletion that was
 * cut short; unless somebody removed `stream.json` by hand. The seal tells: only what a deletion has sealed, or never
 * held a frame, is removed.
 */
async function sweepOrphan(engine: Engine, listed: ListedStream): Promise<void> {
  const { name, incarnation } = listed;
  const last = listed.segments.at(-1);
  if (last !== undefined && !(await isDeletedOrEmpty(engine, incarnation, last))) {
    engine.log.warn("segments without their stream.json are kept", { stream: name, incarnation });
    return;
  }
  engine.log.info("removing what a deletion left", { stream: name, incarnation });
  await finishDeletion(engine, name, incarnation);
}

async function isDeletedOrEmpty(engine: Engine, incarnation: string, segment: ListedSegment): Promise<boolean> {
  const source = { store: engine.store, blob: segment.blob, seed: incarnationSeed(incarnation) };
  const base = { firstOffset: segment.firstOffset, timestamp: 0, producers: new ProducerTable(noProducers) };
  const stored = await engine.store.get(segment.indexBlob);
  const checkpoint = stored && decodeCheckpoint(stored.bytes, incarnation, segment.firstOffset, noProducers);
  const { endOfStream, endPosition, damages } = await recoverSegment(source, base, checkpoint);
  return endOfStream || (endPosition === 0 && damages.length === 0);
}

/** A quiet stream's open segment is closed when it is old, as only closed ones are freed. */
async function rollIfAged(
  engine: Engine,
  vault: Vault,
  listed: ListedStream,
  settings: StreamSettings,
  date: number,
): Promise<void> {
  const last = listed.segments.at(-1);
  if (last === undefined || (settings.retentionAgeMs === 0 && settings.retentionBytes === 0)) return;
  const { bytes } = await engine.store.read(last.blob, 0, headerBytes);
  const { timestamp } = readHeader(bytes, 0);
  if (timestamp === 0 || date - timestamp < settings.segmentAgeMs) return;
  await vault.use(listed.name, (stream) => stream.rollIfAged());
}

/** The offset at which the stream begins when retention has been applied. */
async function retainedStart(
  engine: Engine,
  listed: ListedStream,
  metadata: StreamMetadata,
  settings: StreamSettings,
  date: number,
): Promise<bigint> {
  const { retentionAgeMs, retentionBytes } = settings;
  let start = metadata.startOffset;
  if (retentionAgeMs === 0 && retentionBytes === 0) return start;
  const sealed = listed.segments.slice(0, -1);
  let bytesBehind = 0;
  for (let at = sealed.length - 1; at >= 0; at--) {
    const segment = await loadListed(engine, listed, sealed[at]!);
    const expired = retentionAgeMs > 0 && date - segment.lastTimestamp > retentionAgeMs;
    const surplus = retentionBytes > 0 && bytesBehind >= retentionBytes;
    if (expired || surplus) {
      const next = listed.segments[at + 1]!.firstOffset;
      if (next > start) start = next;
      break;
    }
    bytesBehind += segment.endPosition;
  }
  return start;
}

function loadListed(engine: Engine, listed: ListedStream, segment: ListedSegment) {
  const source = { store: engine.store, blob: segment.blob, seed: incarnationSeed(listed.incarnation) };
  return loadSealed(source, listed.incarnation, segment.firstOffset, segment.indexBlob, engine.caches);
}
