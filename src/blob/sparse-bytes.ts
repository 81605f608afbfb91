/** Bytes of a fixed size of which only what was ever written takes memory. */
export interface SparseBytes {
  readonly sizeBytes: number;
  /** A copy of the range, which must lie within. */
  read(position: number, lengthBytes: number): Buffer;
  /** Copies `bytes` in; the range must lie within. Returns by how many bytes the memory in use grew. */
  write(position: number, bytes: Uint8Array): number;
  /** Zeros the range; chunks that are zeroed whole are freed. Returns by how many bytes the memory in use shrank. */
  clear(position: number, lengthBytes: number): number;
  /** How many bytes of memory are in use. */
  usedBytes(): number;
}

const chunkBytes = 64 * 1024;

/** Makes `sizeBytes` of zeros. */
export function createSparseBytes(sizeBytes: number): SparseBytes {
  const chunks = new Map<number, Buffer>();

  return {
    sizeBytes,
    read(position, lengthBytes) {
      const bytes = Buffer.allocUnsafe(lengthBytes);
      let at = 0;
      for (const { index, from, to } of pieces(position, lengthBytes)) {
        const chunk = chunks.get(index);
        if (chunk === undefined) bytes.fill(0, at, at + to - from);
        else chunk.copy(bytes, at, from, to);
        at += to - from;
      }
      return bytes;
    },
    write(position, bytes) {
      const before = chunks.size;
      let at = 0;
      for (const { index, from, to } of pieces(position, bytes.length)) {
        let chunk = chunks.get(index);
        if (chunk === undefined) {
          chunk = Buffer.alloc(chunkBytes);
          chunks.set(index, chunk);
        }
        chunk.set(bytes.subarray(at, at + to - from), from);
        at += to - from;
      }
      return (chunks.size - before) * chunkBytes;
    },
    clear(position, lengthBytes) {
      const before = chunks.size;
      const end = position + lengthBytes;
      for (const [index, chunk] of chunks) {
        const from = Math.max(0, position - index * chunkBytes);
        const to = Math.min(chunkBytes, end - index * chunkBytes);
        if (from === 0 && to === chunkBytes) chunks.delete(index);
        else if (from < to) chunk.fill(0, from, to);
      }
      return (before - chunks.size) * chunkBytes;
    },
    usedBytes: () => chunks.size * chunkBytes,
  };
}

/** Cuts a range at the borders of chunks. */
function* pieces(position: number, lengthBytes: number): Iterable<{ index: number; from: number; to: number }> {
  const end = position + lengthBytes;
  for (let at = position; at < end;) {
    const index = Math.floor(at / chunkBytes);
    const from = at - index * chunkBytes;
    const to = Math.min(chunkBytes, end - index * chunkBytes);
    yield { index, from, to };
    at += to - from;
  }
}
