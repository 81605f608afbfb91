import test from "ava";
import {
  type Checkpoint,
  decodeCheckpoint,
  encodeCheckpoint,
  indexIntervalBytes,
  OffsetIndex,
} from "../../src/segment/offset-index.ts";
import { ProducerTable } from "../../src/segment/producers.ts";
import { testIncarnation } from "../support/build-commit.ts";
import { createRandom } from "../support/create-clock.ts";
import { below } from "../support/random-records.ts";

const limits = { producersMax: 100, producerRequestsMax: 5, producerWindowMs: 60_000 };

interface Place {
  readonly firstOffset: bigint;
  readonly timestamp: number;
  readonly position: number;
}

/** Frames of random sizes, times standing still now and then. */
function randomFrames(random: () => number, count: number): Place[] {
  let position = 0;
  let timestamp = 1000;
  return Array.from({ length: count }, (_, i) => {
    const frame = { firstOffset: BigInt(i * 10), timestamp, position };
    position += 100 + below(random, random() < 0.2 ? 3 * indexIntervalBytes : 20_000);
    timestamp += below(random, 3) * 100;
    return frame;
  });
}

function indexOf(frames: readonly Place[]): OffsetIndex {
  const index = new OffsetIndex();
  for (const frame of frames) index.add(frame);
  return index;
}

test("offset index - it leads to a frame at or before any offset, never far before", (t) => {
  const frames = randomFrames(createRandom(1), 400);
  const index = indexOf(frames);
  for (const [i, frame] of frames.entries()) {
    const position = index.positionOfOffset(frame.firstOffset + 5n);
    t.true(position <= frame.position);
    t.true(frame.position - position < indexIntervalBytes);
    if (i > 0) t.true(frames.some((other) => other.position === position));
  }
  t.is(new OffsetIndex().positionOfOffset(5n), 0);
});

test("offset index - around a time, no frame before is at or after it, and none behind is before it", (t) => {
  const frames = randomFrames(createRandom(2), 400);
  const index = indexOf(frames);
  for (let time = 900; time < frames.at(-1)!.timestamp + 200; time += 50) {
    const { before = 0n, after = 1n << 62n } = index.offsetsAround(time);
    t.true(
      frames.filter((frame) => frame.firstOffset < before).every((frame) => frame.timestamp < time),
      `${time}`,
    );
    t.true(
      frames.filter((frame) => frame.firstOffset >= after).every((frame) => frame.timestamp >= time),
      `${time}`,
    );
  }
});

test("offset index - a block is the same while the index grows, and blocks follow each other", (t) => {
  for (const blockBytes of [64 * 1024, 256 * 1024, 1024 * 1024]) {
    const frames = randomFrames(createRandom(blockBytes), 300);
    const index = new OffsetIndex();
    const known = new Map<number, number>();
    for (const [i, frame] of frames.entries()) {
      // Checkpoints add entries in between.
      index.add(frame, i % 17 === 0);
      for (const [start, end] of known) t.deepEqual(index.blockAt(start, blockBytes), { start, end });
      const last = index.entries.at(-1)!.position;
      for (let at = 0; at < last;) {
        const block = index.blockAt(at, blockBytes);
        t.is(block.start, at);
        if (block.end === undefined) break;
        t.true(block.end > at);
        known.set(at, block.end);
        at = block.end;
      }
    }
    t.true(known.size > 2);
    for (const frame of frames) {
      const { start, end } = index.blockAt(index.positionOfOffset(frame.firstOffset), blockBytes);
      t.true(start <= frame.position && frame.position < (end ?? Infinity));
    }
  }
});

function sample(): Checkpoint {
  const producers = new ProducerTable(limits);
  for (let i = 0; i < 7; i++) {
    const request = {
      sequence: BigInt(i),
      firstOffset: BigInt(i * 2),
      count: 2,
      checksum: i * 77,
      timestamp: 5000 + i,
    };
    producers.record("p", request);
    producers.record("größe", { ...request, sequence: 2n ** 64n - 9n + BigInt(i) });
  }
  const index = indexOf(randomFrames(createRandom(3), 100));
  return {
    index,
    producers,
    endPosition: 12_345_678,
    nextOffset: 1000n,
    lastTimestamp: 1_700_000_000_123,
    sealed: true,
  };
}

test("checkpoint - it reads back as it was written", (t) => {
  const checkpoint = sample();
  const decoded = decodeCheckpoint(encodeCheckpoint(testIncarnation, 77n, checkpoint), testIncarnation, 77n, limits)!;
  t.deepEqual(decoded.index.entries, checkpoint.index.entries);
  t.deepEqual([...decoded.producers.entries()], [...checkpoint.producers.entries()]);
  const { endPosition, nextOffset, lastTimestamp, sealed } = checkpoint;
  t.like(decoded, { endPosition, nextOffset, lastTimestamp, sealed });
});

test("checkpoint - of another segment, incarnation, or damaged anywhere, it is none", (t) => {
  const bytes = encodeCheckpoint(testIncarnation, 77n, sample());
  t.is(decodeCheckpoint(bytes, testIncarnation, 78n, limits), undefined);
  t.is(decodeCheckpoint(bytes, "f".repeat(32), 77n, limits), undefined);
  for (let at = 0; at < bytes.length; at++) {
    const damaged = Buffer.from(bytes);
    damaged[at]! ^= 1 << (at % 8);
    t.is(decodeCheckpoint(damaged, testIncarnation, 77n, limits), undefined, `byte ${at}`);
    t.is(decodeCheckpoint(bytes.subarray(0, at), testIncarnation, 77n, limits), undefined, `${at} bytes`);
  }
});
