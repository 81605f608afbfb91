/** Reading a segment's bytes once where several steps of recovery look at the same, and holes not at all. */
import { type BlobReader, pageBytes } from "../blob/blob-store.ts";
import { isZero } from "./recovery.ts";
import { lookAheadBytes, type SegmentSource } from "./scan.ts";

/** What is known of a segment: what stands from `position` on, then zeros up to `end`. */
interface Window {
  readonly position: number;
  readonly bytes: Buffer;
  readonly etag: string;
  /** Where knowledge ends; Infinity where the blob ended before the read did. */
  readonly end: number;
}

// What is shorter is not worth another request.
const sparseReadBytesMin = 256 * 1024;

/**
 * The same segment, for who alone may change it and does not: what stands in the last read is not read again, and where
 * the store tells what was written, zeros behind it are not read. `sizeBytes`: the blob's size, where it is known.
 */
export function rememberWindow(source: SegmentSource, sizeBytes = Infinity): SegmentSource {
  const { store } = source;
  let window: Window | undefined;
  async function read(name: string, position: number, lengthBytes: number) {
    const end = Math.min(position + lengthBytes, sizeBytes);
    if (window === undefined || position < window.position || end > window.end) {
      window = await readWindow(store, name, position, lengthBytes, sizeBytes);
    }
    return { bytes: cut(window, position, end), etag: window.etag };
  }
  return { ...source, store: { ...store, read } };
}

async function readWindow(
  store: BlobReader,
  name: string,
  position: number,
  lengthBytes: number,
  sizeBytes: number,
): Promise<Window> {
  const end = position + lengthBytes;
  const known = Math.min(end + lookAheadBytes, sizeBytes);
  const worthAsking = lengthBytes >= sparseReadBytesMin && sizeBytes < Infinity && position < sizeBytes;
  if (store.writtenEnd === undefined || !worthAsking) {
    const { bytes, etag } = await store.read(name, position, lengthBytes);
    return { position, bytes, etag, end: bytes.length < lengthBytes ? Infinity : end };
  }
  // Walking comes first and looks behind the end next: both are answered by one look at what was written.
  const written = await store.writtenEnd(name, position, known - position);
  const wanted = Math.min(Math.max(written, position + pageBytes), end);
  const { bytes, etag } = await store.read(name, position, wanted - position);
  return { position, bytes, etag, end: written <= end ? known : position + bytes.length };
}

function cut(window: Window, position: number, end: number): Buffer {
  const lengthBytes = Math.max(0, end - position);
  const start = position - window.position;
  const known = window.bytes.subarray(start, start + lengthBytes);
  if (window.end === Infinity || known.length === lengthBytes) return known;
  if (lengthBytes <= hole.length && isZero(known, 0, known.length)) return hole.subarray(0, lengthBytes);
  const bytes = Buffer.alloc(lengthBytes);
  known.copy(bytes);
  return bytes;
}

// What an opening looks at behind the end, most of the time. One for all, which nobody writes to.
const hole = Buffer.alloc(lookAheadBytes);
