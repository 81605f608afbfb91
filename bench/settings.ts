import { defaultConfig } from "../src/config.ts";
import type { BenchSettings } from "./measurement.ts";
import type { BenchOptions } from "./options.ts";

/** What the measurements have in common: as the options say, and as the vault's defaults are. */
export function chooseSettings({
  rounds,
  seconds,
  bytes,
  records,
}: Pick<BenchOptions, "rounds" | "seconds" | "bytes" | "records">): BenchSettings {
  const { commitBytesMax, readBytes, readAheadBytes, tailCacheBytes } = defaultConfig;
  return {
    rounds,
    seconds,
    storedBytes: bytes,
    commitBytes: commitBytesMax,
    readBytes,
    readsInFlight: 1 + Math.ceil(readAheadBytes / readBytes),
    tailCacheBytes,
    scaleRecords: records,
    segmentBytesAzurite: 64 * 1024 * 1024,
  };
}
