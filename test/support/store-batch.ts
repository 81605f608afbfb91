import type { RecordBatch } from "../../src/segment/batch.ts";
import { CommitBuilder } from "../../src/segment/commit.ts";

/** The payload that a batch is stored as, in a commit of its own. */
export function storeBatch(batch: RecordBatch, firstOffset: bigint, timestamp: number): Buffer {
  const start = { position: 0, leading: Buffer.alloc(0), firstOffset, timestamp, epoch: 1, seed: 1 };
  const builder = new CommitBuilder(start, batch.storedBytes + 64, 256 * 1024);
  builder.add(batch);
  return builder.finish().frames[0]!.payload;
}
