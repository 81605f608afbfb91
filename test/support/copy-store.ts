import type { BlobReader, BlobStore } from "../../src/blob/blob-store.ts";
import { pageBytes } from "../../src/blob/blob-store.ts";

/** How much of a page blob is looked at, and written, at once. */
const chunkBytes = 256 * 1024;

/** Copies every blob into a store that has none of them: bytes, sizes, sequence numbers and metadata, but no leases. */
export async function copyStore(from: BlobReader, to: BlobStore): Promise<void> {
  let next: string | undefined;
  do {
    const page = await from.list("", 1000, next);
    for (const { name } of page.items) await copyBlob(from, to, name);
    next = page.next;
  } while (next !== undefined);
}

async function copyBlob(from: BlobReader, to: BlobStore, name: string): Promise<void> {
  const properties = await from.properties(name);
  const { sizeBytes, sequenceNumber, metadata } = properties!;
  // Segments carry an epoch, only the control blob has metadata; what has neither is a block blob.
  if (sequenceNumber > 0) await copyPages(from, to, name, sizeBytes, sequenceNumber);
  else if (Object.keys(metadata).length > 0) await to.createControl(name, metadata);
  else await to.put(name, (await from.get(name))!.bytes, { ifNoneMatch: "*" });
}

async function copyPages(
  from: BlobReader,
  to: BlobStore,
  name: string,
  sizeBytes: number,
  epoch: number,
): Promise<void> {
  const fence = { epoch, assertHeld() {} };
  let etag = await to.createPages(name, sizeBytes, fence);
  for (let position = 0; position < sizeBytes; position += chunkBytes) {
    const { bytes } = await from.read(name, position, chunkBytes);
    const used = cutZeroPages(bytes);
    if (used.length > 0) etag = await to.writePages(name, position, used, etag, fence);
  }
}

/** The bytes without the pages at their end that hold nothing but zeros. */
export function cutZeroPages(bytes: Buffer): Buffer {
  let pages = Math.ceil(bytes.length / pageBytes);
  while (pages > 0 && isZero(bytes.subarray((pages - 1) * pageBytes, pages * pageBytes))) pages--;
  return bytes.subarray(0, pages * pageBytes);
}

function isZero(page: Buffer): boolean {
  return zeros.compare(page, 0, page.length, 0, page.length) === 0;
}

const zeros = Buffer.alloc(pageBytes);
