/**
 * Trimming: the start offset moves first, in the stream's metadata; then segments wholly before it are deleted, and
 * none before a later one has a checkpoint, as its producers and last timestamp live there.
 */
import { VaultError } from "../errors.ts";
import type { TrimPoint } from "./commands.ts";
import type { Engine } from "./engine.ts";
import { segmentPrefix, type StreamMetadata } from "./metadata.ts";
import { type ListedSegment, listSegments } from "./segment-list.ts";
import type { Stream } from "./stream.ts";

/** The offset that a trim makes the first. Throws `outOfRange` for one beyond the tail. */
export async function trimOffset(stream: Stream, before: TrimPoint): Promise<bigint> {
  if ("timestamp" in before) return stream.offsetAt(before.timestamp);
  if (before.offset <= stream.nextOffset) return before.offset;
  const message = `cannot trim ${stream.name} before ${before.offset}: its next offset is ${stream.nextOffset}`;
  throw new VaultError("outOfRange", message, {
    resource: stream.name,
    field: "offset",
    found: { first_offset: String(stream.startOffset), next_offset: String(stream.nextOffset) },
  });
}

/** The metadata with a later start; the same object where it is there already. */
export function withStart(metadata: StreamMetadata, startOffset: bigint): StreamMetadata {
  return startOffset > metadata.startOffset ? { ...metadata, startOffset } : metadata;
}

/**
 * Deletes an open stream's segments that lie wholly before its start, as storage lists them: a deletion whose answer was
 * lost may have been carried out, or a late request have made a segment anew. What fails is left for the next sweep. Oldest
 * first, each when the one before it is gone: that a segment is there says that all behind it are, which is what the
 * check after a roll's create rests on.
 */
export async function removeTrimmed(engine: Engine, stream: Stream): Promise<void> {
  const { log, startOffset } = stream;
  try {
    const segments = await listSegments(engine.store, segmentPrefix(stream.name, stream.incarnation));
    for (const [at, segment] of segments.slice(0, -1).entries()) {
      const later = segments.slice(at + 1);
      if (later[0]!.firstOffset > startOffset) return;
      if (!(await hasCheckpoint(engine, later))) await stream.ensureCheckpoint();
      if (!(await hasCheckpoint(engine, later))) return;
      // The index goes first: a segment is listed, and so tried again, an index without its segment is not.
      await engine.store.remove(segment.indexBlob);
      await engine.store.remove(segment.blob);
      engine.caches.blocks.forget(`${segment.blob}@`);
      engine.caches.indexes.forget(segment.blob);
    }
  } catch (error) {
    engine.log.warn("trimmed segment not deleted yet", { stream: stream.name, error });
  } finally {
    // The open segment may have become one of them meanwhile, by a roll.
    log.forgetBefore(startOffset);
  }
}

/** Whether one of these segments has a checkpoint, so that none before them is needed to open the stream. */
async function hasCheckpoint(engine: Engine, segments: readonly Pick<ListedSegment, "indexBlob">[]): Promise<boolean> {
  for (const { indexBlob } of segments) {
    if ((await engine.store.properties(indexBlob)) !== undefined) return true;
  }
  return false;
}
