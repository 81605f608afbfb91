/** Reading a segment's bytes once where several steps of recovery look at the same. */
import type { BlobBytes, BlobReader } from "../blob/blob-store.ts";
import type { SegmentSource } from "./scan.ts";

/** The last read of a segment. */
interface Window extends BlobBytes {
  readonly position: number;
  /** Whether the blob ended before the read did. */
  readonly last: boolean;
}

/**
 * The same segment, for who alone may change it and does not: what stands in the last read is not read again. Most
 * segments are opened by one read then, where walking, looking behind the end and the end's page would each take one.
 */
export function rememberWindow(source: SegmentSource): SegmentSource {
  let window: Window | undefined;
  async function read(name: string, position: number, lengthBytes: number): Promise<BlobBytes> {
    const start = position - (window?.position ?? Infinity);
    if (window !== undefined && start >= 0 && (window.last || start + lengthBytes <= window.bytes.length)) {
      return { bytes: window.bytes.subarray(start, start + lengthBytes), etag: window.etag };
    }
    const found = await source.store.read(name, position, lengthBytes);
    window = { ...found, position, last: found.bytes.length < lengthBytes };
    return found;
  }
  const store: BlobReader = { ...source.store, read };
  return { ...source, store };
}
