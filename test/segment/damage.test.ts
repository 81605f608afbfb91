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

async function createFilled(commits: number, frames = 3): Promise<TestSegment> {
  const segment = await createSegment();
  for (let i = 0; i < commits; i++) {
    await segment.append(
      Array.from({ length: frames }, () => ({ records: someRecords(3, 200, i) })),
      600,
    );
  }
  return segment;
}

async function flip(segment: TestSegment, position: number, mask = 1): Promise<void> {
  const { bytes } = await segment.store.read(segment.blob, position, 1);
  segment.store.damage(segment.blob, position, Buffer.from([bytes[0]! ^ mask]));
}

/** What is behind the damage is as it was, what is written next comes behind it, and all of it is found again. */
async function assertGoesOn(t: ExecutionContext, segment: TestSegment, found: RecoveredSegment): Promise<void> {
  t.false(found.dirty, "damage is never cut");
  const reopened = await segment.reopen(found);
  const commit = await reopened.append([{ records: someRecords(2) }]);
  t.true(commit.firstOffset >= segment.commits.at(-1)!.nextOffset, "no offset is given twice");
  const again = await segment.recover();
  t.is(again.nextOffset, commit.nextOffset);
  t.is(again.endPosition, commit.endPosition);
  t.deepEqual(
    again.damages.map(({ position, offset }) => ({ position, offset })),
    found.damages.map(({ position, offset }) => ({ position, offset })),
  );
}

test("damage - a flipped bit in the middle is reported and costs one frame", async (t) => {
  const random = createRandom(21);
  for (let round = 0; round < 60; round++) {
    const segment = await createFilled(4);
    const frames = segment.commits.slice(0, -1).flatMap((commit) => commit.frames);
    const frame = frames[below(random, frames.length)]!;
    await flip(segment, frame.position + below(random, frame.endPosition - frame.position), 1 << below(random, 8));
    const found = await segment.recover();
    t.is(found.nextOffset, segment.commits.at(-1)!.nextOffset);
    t.is(found.endPosition, segment.commits.at(-1)!.endPosition);
    t.deepEqual(found.damages, [
      { position: frame.position, endPosition: frame.endPosition, offset: frame.firstOffset },
    ]);
    await assertGoesOn(t, segment, found);
  }
});

test("damage - in the last commit, frames behind it are kept and their offsets not given again", async (t) => {
  const random = createRandom(22);
  for (let round = 0; round < 60; round++) {
    const segment = await createFilled(2);
    const { frames, nextOffset, endPosition } = segment.commits.at(-1)!;
    const frame = frames[below(random, frames.length - 1)]!;
    await flip(segment, frame.position + below(random, frame.endPosition - frame.position), 1 << below(random, 8));
    const found = await segment.recover();
    t.is(found.nextOffset, nextOffset);
    t.is(found.endPosition, endPosition);
    t.deepEqual(found.damages, [
      { position: frame.position, endPosition: frame.endPosition, offset: frame.firstOffset },
    ]);
    await assertGoesOn(t, segment, found);
  }
});

test("damage - wherever the last frame is hit, none of its offsets is given again", async (t) => {
  const intact = await createFilled(2, 1);
  const { frames } = intact.commits.at(-1)!;
  const [last] = frames;
  for (let at = last!.position; at < last!.endPosition; at++) {
    // A producer section that is not there looks as a torn commit does, and never was acknowledged then.
    if (at - last!.position >= 12 && at - last!.position < 15) continue;
    const segment = await createFilled(2, 1);
    await flip(segment, at, 1 << (at % 8));
    const found = await segment.recover();
    t.is(found.damages.length, 1, `byte ${at - last!.position}`);
    t.is(found.damages[0]!.position, last!.position);
    t.is(found.endPosition % pageBytes, 0);
    if (at % 16 === 0) await assertGoesOn(t, segment, found);
    else t.true(found.nextOffset >= last!.nextOffset);
  }
});

test("damage - a page of zeros in the middle is no end", async (t) => {
  for (let page = 0; page < 4; page++) {
    const segment = await createFilled(12);
    segment.store.damage(segment.blob, page * pageBytes, Buffer.alloc(pageBytes));
    const found = await segment.recover();
    t.is(found.nextOffset, segment.commits.at(-1)!.nextOffset, `page ${page}`);
    t.true(found.damages.length > 0);
    await assertGoesOn(t, segment, found);
  }
});

test("damage - zeros over a large commit that others follow are no end", async (t) => {
  const segment = await createSegment(16 * 1024 * 1024);
  const large = Array.from({ length: 4 }, (_, i) => ({ records: [{ value: Buffer.alloc(950_000, i + 1) }] }));
  await segment.append([{ records: someRecords(2) }]);
  const hit = await segment.append(large);
  // Its frame is larger than what was looked at behind a largest commit.
  const last = await segment.append(large.slice(0, 1));
  segment.store.damage(
    segment.blob,
    hit.writePosition + pageBytes,
    Buffer.alloc(hit.endPosition - hit.writePosition - 2 * pageBytes),
  );
  const found = await segment.recover();
  t.is(found.nextOffset, last.nextOffset);
  t.true(found.damages.length > 0);
  t.false(found.dirty);
});

test("damage - zeros where a checkpoint says that frames were are no end", async (t) => {
  for (const lost of [1, 2, 5]) {
    const segment = await createFilled(5);
    const checkpoint = segment.checkpoint();
    const from = segment.commits.at(-lost)!.position;
    segment.store.damage(segment.blob, from, Buffer.alloc(64 * 1024));
    const found = await segment.recover(checkpoint);
    t.is(found.nextOffset, checkpoint.nextOffset);
    t.is(found.endPosition, checkpoint.endPosition);
    t.is(found.lastTimestamp, checkpoint.lastTimestamp);
    t.deepEqual(
      found.damages.map(({ position }) => position),
      [from],
    );
    const reopened = await segment.reopen(found);
    const commit = await reopened.append([{ records: someRecords(1) }]);
    t.is(commit.firstOffset, checkpoint.nextOffset);
    t.is((await segment.recover(checkpoint)).nextOffset, commit.nextOffset);
  }
});

test("damage - absurd lengths and unknown versions hide nothing", async (t) => {
  for (const [place, bytes] of [
    [8, "ffffffff"],
    [12, "ffffffff"],
    [8, "00000000"],
    [3, "02"],
    [22, "07"],
    [0, "00000000"],
  ] as const) {
    for (const which of [0, 1, 2]) {
      const segment = await createFilled(3, 1);
      const frame = segment.commits[which]!.frames[0]!;
      segment.store.damage(segment.blob, frame.position + place, Buffer.from(bytes, "hex"));
      const found = await segment.recover();
      t.deepEqual(
        found.damages.map(({ position, offset }) => ({ position, offset })),
        [{ position: frame.position, offset: frame.firstOffset }],
      );
      t.is(found.nextOffset, segment.commits.at(-1)!.nextOffset);
      await assertGoesOn(t, segment, found);
    }
  }
});

test("damage - several places are all reported", async (t) => {
  const segment = await createFilled(6);
  const hit = [segment.commits[1]!.frames[0]!, segment.commits[2]!.frames[1]!, segment.commits[4]!.frames[2]!];
  for (const frame of hit) await flip(segment, frame.position + 70);
  const found = await segment.recover();
  t.deepEqual(
    found.damages.map(({ position, offset }) => ({ position, offset })),
    hit.map((frame) => ({ position: frame.position, offset: frame.firstOffset })),
  );
  await assertGoesOn(t, segment, found);
});

test("damage - the index leads behind it", async (t) => {
  const segment = await createFilled(6);
  const frame = segment.commits[2]!.frames[0]!;
  await flip(segment, frame.position + 70);
  const { index } = await segment.recover();
  const behind = index.positionOfOffset(frame.nextOffset);
  t.is(behind, frame.endPosition);
  const state = { ...scanStart(frame.nextOffset, 0), position: behind, commitPosition: frame.commitPosition };
  const frames = await Array.fromAsync(scanFrames(segment.source, state));
  t.is(frames.at(-1)!.nextOffset, segment.commits.at(-1)!.nextOffset);
});
