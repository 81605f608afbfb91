/** The part of a check that tells which incarnation of a stream counts, and what became of others. */
import { type BlobReader, listLimitMax } from "../blob/blob-store.ts";
import { isKind } from "../errors.ts";
import { type Frame, frameFlags, incarnationSeed } from "../segment/format.ts";
import { scanFrames, scanStart } from "../segment/scan.ts";
import { metadataBlob, readMetadata, segmentPrefix, type StreamMetadata, streamNotFound } from "./metadata.ts";
import { listSegments } from "./segment-list.ts";
import { finding, note, type VerifyEvent } from "./verify-events.ts";

/** The stream's metadata; undefined where there is none, a sentence where it cannot be understood. */
export async function metadataOf(store: BlobReader, name: string): Promise<StreamMetadata | string | undefined> {
  try {
    return (await readMetadata(store, name))?.metadata;
  } catch (error) {
    if (isKind(error, "corrupt")) return error.message;
    throw error;
  }
}

/**
 * Checks that what is stored of other incarnations than `own`, which stream.json names, had been deleted. `own` is
 * undefined where there is no stream.json. Throws `notFound` if there is nothing at all.
 */
export async function* verifyOthers(
  store: BlobReader,
  name: string,
  own: string | undefined,
): AsyncGenerator<VerifyEvent> {
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

/** Whether a frame is the seal of a stream that was deleted. */
export function isEndOfStream(frame: Frame): boolean {
  return (frame.flags & frameFlags.endOfStream) !== 0;
}
