import type { BlobStore } from "../blob/blob-store.ts";
import type { Engine } from "./engine.ts";
import { metadataBlob, readMetadata, segmentPrefix } from "./metadata.ts";

const listLimit = 5000;

/**
 * Finishes the deletion of an incarnation whose end-of-stream seal is durable: first its metadata, then its blobs. Can
 * be done again, by whoever finds the seal.
 */
export async function finishDeletion(engine: Engine, stream: string, incarnation: string): Promise<void> {
  const known = await readMetadata(engine.store, stream);
  if (known?.metadata.incarnation === incarnation) await engine.store.remove(metadataBlob(stream), known.etag);
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
  for (const name of names.sort()) await store.remove(name);
}
