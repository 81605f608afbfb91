/** What GetStream and GetReadAccess tell of a log. */
import { isKind } from "../errors.ts";
import type { SegmentInfo, StreamInfo } from "./commands.ts";
import type { Engine } from "./engine.ts";
import { type ReadableLog, sealedSegment } from "./log-reader.ts";
import { effectiveSettings, type StreamMetadata } from "./metadata.ts";
import { keptFrom } from "./segment-list.ts";
import type { StreamView } from "./stream-view.ts";

/** What GetStream tells of the stream that `view` shows. */
export async function describeLog(
  engine: Engine,
  log: ReadableLog,
  metadata: StreamMetadata,
  view: StreamView,
): Promise<StreamInfo> {
  const { name, incarnation, startOffset, nextOffset, lastTimestamp } = view;
  const kept = keptFrom(log.sealed, log.openSegment, startOffset);
  const segments = await Promise.all(kept.map((segment) => sealedSegment(engine, log, segment)));
  const sealedBytes = segments.reduce((sum, segment) => sum + segment.endPosition, 0);
  const first = startOffset < nextOffset ? await view.framesFrom(startOffset, false).catch(ifDamaged) : undefined;
  first?.giveBack();
  return {
    name,
    incarnation,
    settings: effectiveSettings(metadata.settings, engine.settings.streamDefaults),
    createdAt: metadata.createdAt,
    firstOffset: startOffset,
    nextOffset,
    firstTimestamp: first?.value[0]?.timestamp,
    lastTimestamp,
    storedBytes: sealedBytes + log.openSegment.endPosition,
    segmentCount: segments.length + 1,
  };
}

/** The segments that hold records from `from` to `to` of what is kept from `startOffset`; `to` of 0 means to the tail. */
export async function describeSegments(
  engine: Engine,
  log: ReadableLog,
  startOffset: bigint,
  from: bigint,
  to: bigint,
): Promise<SegmentInfo[]> {
  const { nextOffset, openSegment } = log;
  const end = to === 0n ? nextOffset : to;
  const kept = keptFrom(log.sealed, openSegment, from > startOffset ? from : startOffset);
  const sealed = await Promise.all(
    kept.map(async (segment) => {
      const { blob, firstOffset, nextOffset: next, endPosition } = await sealedSegment(engine, log, segment);
      return { blob, firstOffset, nextOffset: next, endPosition, sealed: true };
    }),
  );
  const { blob, firstOffset, endPosition } = openSegment;
  const segments = [...sealed, { blob, firstOffset, nextOffset, endPosition, sealed: false }];
  return segments.filter((segment) => segment.nextOffset > from && segment.firstOffset < end);
}

/** A stream whose first record is damaged can be described all the same. */
function ifDamaged(error: unknown): undefined {
  if (!isKind(error, "corrupt")) throw error;
}
