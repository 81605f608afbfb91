import { CommitBuilder } from "../../src/segment/commit.ts";
import type { Commit, CommitStart } from "../../src/segment/commit.ts";
import { incarnationSeed } from "../../src/segment/format.ts";
import type { RecordInit } from "./publish-records.ts";
import { batchOf } from "./publish-records.ts";

/** The incarnation of the segments that tests make by hand. */
export const testIncarnation = "00112233445566778899aabbccddeeff";

/** The seed of its frames' checksums. */
export const testSeed = incarnationSeed(testIncarnation);

/** A batch of a commit that a test makes by hand. */
export interface BuildEntry {
  readonly records: readonly RecordInit[];
  readonly producer?: { readonly id: string; readonly sequence: bigint };
}

/** Builds a commit of these batches; a frame is closed at `frameBytes`. A `seal` ends it. */
export function buildCommit(
  start: Partial<CommitStart>,
  entries: readonly BuildEntry[],
  { frameBytes = 256 * 1024, seal = false, endOfStream = false } = {},
): Commit {
  const batches = entries.map(({ records, producer }) => ({ batch: batchOf(records), producer }));
  const contentBytes = batches.reduce((sum, { batch }) => sum + batch.storedBytes + 64 + 160, 128);
  const whole: CommitStart = {
    position: 0,
    leading: Buffer.alloc((start.position ?? 0) % 4096, 0xee),
    firstOffset: 0n,
    timestamp: 1_700_000_000_123,
    epoch: 3,
    seed: testSeed,
    ...start,
  };
  const builder = new CommitBuilder(whole, contentBytes, frameBytes);
  for (const { batch, producer } of batches) builder.add(batch, producer);
  if (seal) builder.seal(endOfStream);
  return builder.finish();
}

/** So many records with values of `valueBytes` bytes that tell them apart. */
export function someRecords(count: number, valueBytes = 20, from = 0): RecordInit[] {
  return Array.from({ length: count }, (_, i) => {
    const value = Buffer.alloc(valueBytes, 1 + ((from + i) % 250));
    value.write(`#${from + i} `);
    return { key: Buffer.from(`key-${from + i}`), value };
  });
}
