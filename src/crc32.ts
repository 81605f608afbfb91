/** CRC-32 as zlib computes it: every frame, index and producer's request carries one. */
import { createRequire } from "node:module";
import { crc32 as portableCrc32 } from "node:zlib";

/** Computes the CRC-32 of `bytes`, going on from `value`, that of the bytes before them. Both are unsigned 32-bit integers. */
export type Crc32 = (bytes: Uint8Array, value?: number) => number;

/**
 * Uses the processor's instructions for it, which Node's own, as it is built today, does not: about three times as fast
 * (docs/performance.md). On platforms that `@node-rs/crc32` has no binary for it is Node's: slower, and the same value.
 */
export const crc32: Crc32 = loadNative() ?? portableCrc32;

function loadNative(): Crc32 | undefined {
  try {
    const native: { crc32: Crc32 } = createRequire(import.meta.url)("@node-rs/crc32");
    return native.crc32;
  } catch {
    return undefined;
  }
}
