/**
 * Trimming: the start offset moves first, in the stream's metadata; then segments wholly before it are deleted, and
 * none before a later one has a checkpoint, as its producers and last timestamp live there.
 */
import { VaultError } from "../errors.ts";
import type { TrimPoint } from "./commands.ts";
import type { Engine } from "./engine.ts";
import type { StreamMetadata } from "./metadata.ts";
import type { ListedSegment } from "./segment-list.ts";
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

/** Deletes an open stream's segments that lie wholly before its start. What fails is left for the next sweep. */
export async function removeTrimmed(engine: Engine, stream: Stream): Promise<void> {
  const { log, startOffset } = stream;
  const next = log.writer.identity;
  const segments = [...log.sealed, { ...next, indexed: false }];
  try {
    for (const [at, segment] of segments.slice(0, -1).entries()) {
      const later = segments[at + 1]!;
      if (later.firstOffset > startOffset) return;
      if (later.blob === next.blob) log.checkpoint();
      if (!(await removeSegment(engine, segment, later))) return;
      log.forgetBefore(later.firstOffset);
    }
  } catch (error) {
    engine.log.warn("trimmed segment not deleted yet", { stream: stream.name, error });
  }
}

/** Deletes a segment if `later`, the one behind it, has a checkpoint. The index goes first: without it nobody reads. */
export async function removeSegment(
  engine: Engine,
  segment: Pick<ListedSegment, "blob" | "indexBlob">,
  later: Pick<ListedSegment, "indexBlob">,
): Promise<boolean> {
  if ((await engine.store.properties(later.indexBlob)) === undefined) return false;
  await engine.store.remove(segment.blob);
  await engine.store.remove(segment.indexBlob);
  engine.caches.blocks.forget(`${segment.blob}@`);
  engine.caches.indexes.forget(segment.blob);
  return true;
}
