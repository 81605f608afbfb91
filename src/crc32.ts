/** CRC-32 as zlib computes it: frames, indexes, producers' requests and the headers of the file store carry one. */
import { createRequire } from "node:module";
import { crc32 as portableCrc32 } from "node:zlib";

/** Computes the CRC-32 of `bytes`, going on from `value`, that of the bytes before them. Both are unsigned 32-bit integers. */
export type Crc32 = (bytes: Uint8Array, value?: number) => number;

// The checksum of the digits 1 to 9, as catalogues of such codes have it. What is stored rests on it.
const checkValue = 0xcb_f4_39_26;

/**
 * Uses the processor's instructions for it, which Node's own, as it is built today, does not: about three times as fast
 * (docs/performance.md). On platforms that `@node-rs/crc32` has no binary for it is Node's: slower, and the same value.
 */
export const crc32: Crc32 = loadNative() ?? portableCrc32;

function loadNative(): Crc32 | undefined {
  try {
    const native: { crc32: Crc32 } = createRequire(import.meta.url)("@node-rs/crc32");
    return native.crc32(Buffer.from("123456789")) === checkValue ? native.crc32 : undefined;
  } catch {
    return undefined;
  }
}
