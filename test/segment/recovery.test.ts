import type { ExecutionContext } from "ava";
import test from "ava";
import { pageBytes } from "../../src/blob/blob-store.ts";
import type { RecoveredSegment } from "../../src/segment/recovery.ts";
import { scanFrames, scanStart } from "../../src/segment/scan.ts";
import { someRecords } from "../support/build-commit.ts";
import { createRandom } from "../support/create-clock.ts";
import type { TestSegment } from "../support/create-segment.ts";
import { createSegment } from "../support/create-segment.ts";
import { below } from "../support/random-records.ts";

const sectorBytes = 512;

/** A segment with a few commits of different sizes; some have several frames. */
async function createFilled(random: () => number, commits = 5): Promise<TestSegment> {
  const segment = await createSegment();
  for (let i = 0; i < commits; i++) {
    const entries = Array.from({ length: 1 + below(random, 5) }, (_, batch) => {
      const producer = { id: `p${batch}`, sequence: BigInt(i) };
      return { records: someRecords(1 + below(random, 4), 1 + below(random, 700)), producer };
    });
    await segment.append(entries, 200 + below(random, 1500));
  }
  return segment;
}

/** Compares all that was recovered with what was written up to `commits`. */
function assertRecovered(t: ExecutionContext, found: RecoveredSegment, segment: TestSegment): void {
  const last = segment.commits.at(-1);
  t.is(found.endPosition, last?.endPosition ?? 0);
  t.is(found.nextOffset, last?.nextOffset ?? 0n);
  t.is(found.lastTimestamp, last?.timestamp ?? 0);
  t.deepEqual(found.damages, []);
  t.false(found.dirty);
}

test("recovery - an empty segment ends at its start", async (t) => {
  const segment = await createSegment();
  const found = await segment.recover();
  assertRecovered(t, found, segment);
  t.is(found.lastFrame, undefined);
  t.is(found.tailPage.length, 0);
});

test("recovery - what was written is found, and can be written on", async (t) => {
  for (let seed = 0; seed < 20; seed++) {
    const segment = await createFilled(createRandom(seed), 1 + (seed % 6));
    const found = await segment.recover();
    assertRecovered(t, found, segment);
    const [, requests] = [...found.producers.entries()].find(([id]) => id === "p0")!;
    t.is(requests.at(-1)!.sequence, BigInt(segment.commits.length - 1));
    const reopened = await segment.reopen(found);
    await reopened.append([{ records: someRecords(2) }]);
    assertRecovered(t, await reopened.recover(), reopened);
  }
});

test("recovery - a commit that ends just before, at and behind a page is found", async (t) => {
  for (const beyond of [-1, 0, 1]) {
    const segment = await createSegment();
    const probe = await segment.append([{ records: [{ value: Buffer.alloc(500, 1) }] }]);
    const rest = 2 * pageBytes - probe.endPosition - (probe.endPosition - probe.position) + beyond;
    const commit = await segment.append([{ records: [{ value: Buffer.alloc(500 + rest - 2, 1) }] }]);
    // Two bytes were taken off for the offset: the first record has none.
    t.is(commit.endPosition, 2 * pageBytes + beyond);
    const found = await segment.recover();
    assertRecovered(t, found, segment);
    const reopened = await segment.reopen(found);
    await reopened.append([{ records: someRecords(1) }]);
    assertRecovered(t, await reopened.recover(), reopened);
  }
});

/** Writes a commit of which only the sectors that `arrived` picks reach storage. */
async function tear(
  segment: TestSegment,
  random: () => number,
  arrived: (sector: number) => boolean,
): Promise<boolean> {
  const { store, blob } = segment;
  const before = await store.read(blob, 0, 256 * 1024);
  const entries = Array.from({ length: 1 + below(random, 4) }, () => ({
    records: someRecords(2, 1 + below(random, 900), 50),
  }));
  const torn = await segment.append(entries, 100 + below(random, 1000));
  const written = await store.read(blob, 0, 256 * 1024);
  let whole = true;
  for (let at = torn.writePosition; at < torn.writePosition + torn.bytes.length; at += sectorBytes) {
    const old = before.bytes.subarray(at, at + sectorBytes);
    if (arrived((at - torn.writePosition) / sectorBytes) || old.equals(written.bytes.subarray(at, at + sectorBytes)))
      continue;
    store.damage(blob, at, old);
    whole = false;
  }
  return whole;
}

test("recovery - of a torn commit whole frames are kept, in order, and nothing else", async (t) => {
  let cutInside = 0;
  for (let seed = 0; seed < 200; seed++) {
    const random = createRandom(seed);
    const segment = await createFilled(random, 1 + below(random, 3));
    const share = random();
    const whole = await tear(segment, random, () => random() < share);
    const found = await segment.recover();
    const torn = segment.commits.at(-1)!;
    const kept = torn.frames.filter((frame) => frame.endPosition <= found.endPosition);
    const end = kept.at(-1)?.endPosition ?? torn.position;
    t.is(found.endPosition, end, `seed ${seed}`);
    t.is(found.nextOffset, kept.at(-1)?.nextOffset ?? torn.firstOffset);
    t.deepEqual(found.damages, [], `seed ${seed}`);
    t.is(whole, end === torn.endPosition);
    if (kept.length > 0 && !whole) cutInside++;
    await assertWritable(t, segment, found);
  }
  t.true(cutInside > 10);
});

test("recovery - each single sector of a torn commit matters", async (t) => {
  for (let sector = 0; sector < 12; sector++) {
    for (const missing of [true, false]) {
      const random = createRandom(1000);
      const segment = await createFilled(random, 2);
      const whole = await tear(segment, random, (index) => (index === sector) !== missing);
      const found = await segment.recover();
      const torn = segment.commits.at(-1)!;
      t.deepEqual(found.damages, []);
      t.is(found.endPosition === torn.endPosition, whole, `sector ${sector}, ${missing ? "missing" : "alone"}`);
      t.true(found.endPosition >= torn.position);
      await assertWritable(t, segment, found);
    }
  }
});

test("recovery - a header that a sector's end splits is torn, whichever part of it arrived", async (t) => {
  for (let split = 1; split < 64; split++) {
    for (const missing of [0, 1]) {
      const segment = await createSegment();
      const probe = await segment.append([{ records: [{ value: Buffer.alloc(200, 1) }] }]);
      const fill = 3 * sectorBytes - split - 2 * probe.endPosition - 2;
      const before = await segment.append([{ records: [{ value: Buffer.alloc(200 + fill, 1) }] }]);
      t.is((before.endPosition + split) % sectorBytes, 0, "the next header is split there");
      const first = Math.floor(before.endPosition / sectorBytes);
      await tear(segment, createRandom(split), (sector) => sector !== first + missing);
      const found = await segment.recover();
      t.deepEqual(found.damages, [], `split at ${split}, sector ${missing} missing`);
      t.is(found.endPosition, before.endPosition);
      await assertWritable(t, segment, found);
    }
  }
});

/** What was recovered can be written on; behind the new end there are zeros, whatever the torn commit left. */
async function assertWritable(t: ExecutionContext, segment: TestSegment, found: RecoveredSegment): Promise<void> {
  const reopened = await segment.reopen(found);
  const left = await segment.store.read(segment.blob, found.endPosition, 256 * 1024);
  t.true(left.bytes.every((byte) => byte === 0));
  await reopened.append([{ records: someRecords(1) }]);
  const again = await reopened.recover();
  t.is(again.nextOffset, found.nextOffset + 1n);
  t.deepEqual(again.damages, []);
  const { bytes } = await segment.store.read(segment.blob, again.endPosition, 256 * 1024);
  t.true(bytes.every((byte) => byte === 0));
}

test("recovery - a seal ends the segment, and says whether it ends the stream", async (t) => {
  for (const endOfStream of [false, true]) {
    const segment = await createFilled(createRandom(4));
    await segment.seal(endOfStream);
    t.like(await segment.recover(), { sealed: true, endOfStream, dirty: false });
    t.like(await segment.recover(segment.checkpoint()), { sealed: true, endOfStream });
  }
});

test("recovery - a checkpoint gives the same as reading everything", async (t) => {
  for (let seed = 0; seed < 30; seed++) {
    const random = createRandom(seed);
    const segment = await createFilled(random, 1 + below(random, 4));
    const stale = segment.checkpoint();
    for (let more = below(random, 3); more > 0; more--) {
      await segment.append([
        { records: someRecords(2), producer: { id: "p0", sequence: BigInt(segment.commits.length) } },
      ]);
    }
    const plain = await segment.recover();
    for (const checkpoint of [stale, segment.checkpoint()]) {
      const found = await segment.recover(checkpoint);
      assertRecovered(t, found, segment);
      t.deepEqual([...found.producers.entries()], [...plain.producers.entries()]);
      t.deepEqual(found.lastFrame, plain.lastFrame);
      t.is(found.lastEpoch, plain.lastEpoch);
      t.is(found.checkpointPosition, checkpoint.endPosition);
    }
  }
});

test("recovery - a checkpoint whose frame is not what it says is not believed", async (t) => {
  const segment = await createFilled(createRandom(6));
  const right = segment.checkpoint();
  const wrong = [
    { ...right, endPosition: right.endPosition - 1 },
    { ...right, nextOffset: right.nextOffset + 1n },
    { ...right, endPosition: 0 },
  ];
  for (const checkpoint of wrong) {
    const found = await segment.recover({ ...checkpoint, producers: (await createSegment()).checkpoint().producers });
    t.is(found.checkpointPosition, 0);
    t.is(found.nextOffset, segment.commits.at(-1)!.nextOffset);
    t.deepEqual(found.damages, []);
    t.true(found.producers.size > 0);
  }
});

test("recovery - a checkpoint of an empty segment has what came before it", async (t) => {
  const segment = await createSegment();
  const { index, producers } = segment.checkpoint();
  producers.record("old", { sequence: 4n, firstOffset: 0n, count: 1, checksum: 1, timestamp: 900_000 });
  const lastTimestamp = 900_000;
  const before = { index, producers, endPosition: 0, nextOffset: 0n, lastTimestamp, sealed: false };
  const found = await segment.recover(before);
  t.is(found.lastTimestamp, 900_000);
  t.is(found.producers.draft(0).judge("old", 5n, 1, 1).kind, "new");
  t.is(found.producers.draft(0).judge("old", 7n, 1, 1).kind, "conflict");
});

test("recovery - frames that go back in offset, time or epoch do not count", async (t) => {
  const segment = await createFilled(createRandom(8), 2);
  const { position, nextOffset, timestamp } = { ...scanStart(0n, 0), ...(await stateAfter(segment, 1)) };
  for (const state of [
    { nextOffset: nextOffset + 1n, timestamp, epoch: 3 },
    { nextOffset, timestamp: timestamp + 100_000, epoch: 3 },
    { nextOffset, timestamp, epoch: 4 },
  ]) {
    const frames = await Array.fromAsync(scanFrames(segment.source, { ...scanStart(0n, 0), position, ...state }));
    t.deepEqual(frames, []);
  }
  const frames = await Array.fromAsync(
    scanFrames(segment.source, { ...scanStart(0n, 0), position, nextOffset, timestamp, epoch: 3 }),
  );
  t.is(frames.length, segment.commits[1]!.frames.length);
});

async function stateAfter(segment: TestSegment, commits: number) {
  const last = segment.commits[commits - 1]!;
  return { position: last.endPosition, nextOffset: last.nextOffset, timestamp: last.timestamp };
}
