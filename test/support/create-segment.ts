import { createMemoryStore } from "../../src/blob/memory.ts";
import type { MemoryStore } from "../../src/blob/memory.ts";
import type { Commit } from "../../src/segment/commit.ts";
import { CommitBuilder } from "../../src/segment/commit.ts";
import type { Checkpoint } from "../../src/segment/offset-index.ts";
import { decodeCheckpoint } from "../../src/segment/offset-index.ts";
import type { ProducerLimits } from "../../src/segment/producers.ts";
import { ProducerTable } from "../../src/segment/producers.ts";
import type { RecoveredSegment } from "../../src/segment/recovery.ts";
import { recoverSegment } from "../../src/segment/recovery.ts";
import type { SegmentSource } from "../../src/segment/scan.ts";
import { SegmentWriter } from "../../src/segment/writer.ts";
import type { BuildEntry } from "./build-commit.ts";
import { testIncarnation, testSeed } from "./build-commit.ts";
import { createClock } from "./create-clock.ts";
import { batchOf } from "./publish-records.ts";

const blob = "s/00000000000000000000.segment";

/** The producers that a test's segments remember. */
export const testLimits: ProducerLimits = { producersMax: 100, producerRequestsMax: 5, producerWindowMs: 60_000 };

/** One segment in memory, with what was written to it. */
export interface TestSegment {
  readonly store: MemoryStore;
  readonly source: SegmentSource;
  readonly blob: string;
  readonly commits: readonly Commit[];
  readonly writer: SegmentWriter;
  /** Writes a commit of these batches, a frame each `frameBytes`. */
  append(entries: readonly BuildEntry[], frameBytes?: number): Promise<Commit>;
  /** Writes the seal. */
  seal(endOfStream?: boolean): Promise<Commit>;
  /** A checkpoint as of the last commit. */
  checkpoint(): Checkpoint;
  /** Reads the segment to its end, as after a crash. */
  recover(checkpoint?: Checkpoint): Promise<RecoveredSegment>;
  /** Goes on with what was recovered. */
  reopen(recovered: RecoveredSegment): Promise<TestSegment>;
}

/** Makes an empty segment; a small one is looked through fast. */
export async function createSegment(sizeBytes = 256 * 1024): Promise<TestSegment> {
  const store = createMemoryStore(createClock());
  await store.createPages(blob, sizeBytes, fence);
  return openSegment(store, await recoverSegment(sourceOf(store), emptyBase(), undefined));
}

const fence = { epoch: 3, assertHeld() {} };

function sourceOf(store: MemoryStore): SegmentSource {
  return { store, blob, seed: testSeed };
}

function emptyBase() {
  return { firstOffset: 0n, timestamp: 0, producers: new ProducerTable(testLimits) };
}

async function openSegment(store: MemoryStore, recovered: RecoveredSegment): Promise<TestSegment> {
  const { etag, sizeBytes } = (await store.properties(blob))!;
  const identity = { store, fence, incarnation: testIncarnation, seed: testSeed, blob, indexBlob: "s/0.index" };
  const writer = new SegmentWriter({ ...identity, firstOffset: 0n, sizeBytes }, etag, recovered);
  const commits: Commit[] = [];
  const { producers } = recovered;
  let { nextOffset, lastTimestamp: timestamp, lastFrame } = recovered;

  async function write(builder: CommitBuilder): Promise<Commit> {
    const commit = builder.finish();
    await writer.write(commit);
    for (const frame of commit.frames) producers.recordFrame(frame);
    commits.push(commit);
    ({ nextOffset, timestamp } = commit);
    lastFrame = commit.frames.at(-1);
    return commit;
  }

  return {
    store,
    source: sourceOf(store),
    blob,
    commits,
    writer,
    append(entries, frameBytes = 256 * 1024) {
      const batches = entries.map(({ records, producer }) => ({ batch: batchOf(records), producer }));
      const bytes = batches.reduce((sum, { batch }) => sum + batch.storedBytes + 300, 300);
      const builder = new CommitBuilder(writer.commitStart(nextOffset, timestamp + 1000), bytes, frameBytes);
      for (const { batch, producer } of batches) builder.add(batch, producer);
      return write(builder);
    },
    seal(endOfStream = false) {
      const builder = new CommitBuilder(writer.commitStart(nextOffset, timestamp), 64, 1);
      builder.seal(endOfStream);
      return write(builder);
    },
    checkpoint() {
      const sealed = lastFrame !== undefined && "flags" in lastFrame && lastFrame.flags !== 1;
      const bytes = writer.takeCheckpoint(lastFrame, timestamp, producers, sealed);
      return decodeCheckpoint(bytes, testIncarnation, 0n, testLimits)!;
    },
    recover: (checkpoint) => recoverSegment(sourceOf(store), emptyBase(), checkpoint),
    async reopen(found) {
      const reopened = await openSegment(store, found);
      if (found.dirty) await reopened.writer.clearBehindEnd();
      return reopened;
    },
  };
}
