import type { BlobStore } from "../blob/blob-store.ts";
import { isKind } from "../errors.ts";
import type { Engine } from "./engine.ts";
import { metadataBlob, readMetadata, segmentPrefix } from "./metadata.ts";

const listLimit = 5000;
const attemptsMax = 10;

/**
 * Finishes the deletion of an incarnation whose end-of-stream seal is durable: first its metadata, then its blobs. Can
 * be done again, by whoever finds the seal.
 */
export async function finishDeletion(engine: Engine, stream: string, incarnation: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const known = await readMetadata(engine.store, stream);
    if (known?.metadata.incarnation !== incarnation) break;
    try {
      await engine.store.remove(metadataBlob(stream), known.etag);
    } catch (error) {
      // Changed meanwhile, or the answer was lost: looked at again.
      if (!isKind(error, "conflict", "indeterminate") || attempt === attemptsMax) throw error;
    }
  }
  await removeBlobs(engine.store, segmentPrefix(stream, incarnation));
}

/** Removes every blob under `prefix`. The sealed last segment goes last, so that the seal stands until all is gone. */
async function removeBlobs(store: BlobStore, prefix: string): Promise<void> {
  const names: string[] = [];
  let from: string | undefined;
  do {
    const page = await store.list(prefix, listLimit, from);
    names.push(...page.items.map((item) => item.name));
    from = page.next;
  } while (from !== undefined);
  for (const name of names.toSorted()) await store.remove(name);
}
