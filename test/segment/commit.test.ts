import { fromBinary } from "@bufbuild/protobuf";
import test from "ava";
import { SubscribeResponseSchema } from "../../gen/messagevault/v1/vault_pb.ts";
import { pageBytes, writeBytesMax } from "../../src/blob/blob-store.ts";
import { VaultError } from "../../src/errors.ts";
import { batchBytesMax, CommitBuilder } from "../../src/segment/commit.ts";
import { frameFlags, headerBytes, parseFrame } from "../../src/segment/format.ts";
import { buildCommit, someRecords, testSeed } from "../support/build-commit.ts";
import { createRandom } from "../support/create-clock.ts";
import { batchOf, recordLimits } from "../support/publish-records.ts";
import { randomRecords } from "../support/random-records.ts";

/** A commit whose frames end exactly `bytes` behind its position. */
function commitOfSize(position: number, bytes: number) {
  const empty = buildCommit({ position }, [{ records: [{ value: Buffer.alloc(200) }] }]);
  const missing = bytes - (empty.endPosition - empty.position);
  return buildCommit({ position }, [{ records: [{ value: Buffer.alloc(200 + missing) }] }]);
}

test("commit - it covers whole pages, from that of the old end to that of the new one", (t) => {
  for (const leading of [0, 1, 511, 512, pageBytes - 65, pageBytes - 1]) {
    for (const beyond of [-1, 0, 1]) {
      const position = 3 * pageBytes + leading;
      const length = 2 * pageBytes - leading + beyond;
      const commit = commitOfSize(position, length);
      t.is(commit.endPosition, position + length);
      t.is(commit.writePosition, 3 * pageBytes);
      t.is(commit.bytes.length, (beyond > 0 ? 3 : 2) * pageBytes);
      t.true(
        commit.bytes.subarray(0, leading).every((byte) => byte === 0xee),
        "leads with what was there",
      );
      t.true(
        commit.bytes.subarray(leading + length).every((byte) => byte === 0),
        "ends with zeros",
      );
      t.truthy(parseFrame(commit.bytes, leading, position, testSeed));
    }
  }
});

test("commit - frames' payloads put end to end are one response with dense offsets", (t) => {
  const random = createRandom(7);
  for (let round = 0; round < 50; round++) {
    const entries = Array.from({ length: 1 + Math.floor(random() * 12) }, () => ({
      records: randomRecords(random, 8),
    }));
    const firstOffset = BigInt(Math.floor(random() * 1e12));
    const frameBytes = 100 + Math.floor(random() * 3000);
    const position = Math.floor(random() * 9000);
    const commit = buildCommit({ position, firstOffset }, entries, { frameBytes, seal: random() < 0.3 });
    const { records } = fromBinary(SubscribeResponseSchema, Buffer.concat(commit.frames.map((frame) => frame.payload)));
    const count = entries.reduce((sum, entry) => sum + entry.records.length, 0);
    t.is(records.length, count);
    t.true(records.every((record, i) => record.offset === firstOffset + BigInt(i)));
    t.is(commit.nextOffset, firstOffset + BigInt(count));
    let at = position;
    for (const frame of commit.frames) {
      t.is(frame.position, at);
      t.is(frame.commitPosition, position);
      t.deepEqual(parseFrame(commit.bytes, at - commit.writePosition, at, testSeed), frame);
      at = frame.endPosition;
    }
    t.is(at, commit.endPosition);
  }
});

test("commit - a batch is in one frame, and a frame is closed at its size", (t) => {
  const entries = Array.from({ length: 40 }, () => ({ records: someRecords(5, 100) }));
  const { frames } = buildCommit({}, entries, { frameBytes: 2000 });
  t.true(frames.length > 5);
  t.true(frames.every((frame) => frame.recordCount % 5 === 0));
  t.true(frames.slice(0, -1).every((frame) => frame.endPosition - frame.position >= 2000));
  t.true(frames.every((frame) => frame.endPosition - frame.position < 2000 + 5 * 160));
});

test("commit - a seal is a frame of its own that names the next offset", (t) => {
  const { frames, nextOffset } = buildCommit({}, [{ records: someRecords(3) }], { seal: true, endOfStream: true });
  t.is(frames.length, 2);
  t.like(frames[1], {
    flags: frameFlags.seal | frameFlags.endOfStream,
    firstOffset: 3n,
    nextOffset: 3n,
    recordCount: 0,
  });
  t.is(frames[1]!.endPosition - frames[1]!.position, headerBytes);
  t.is(nextOffset, 3n);
});

test("commit - the largest batch fits from every place in a page, with the longest producer id", (t) => {
  const limits = { ...recordLimits, recordBytesMax: writeBytesMax };
  const overhead = batchOf([{ value: Buffer.alloc(4_000_000) }], limits).storedBytes - 4_000_000;
  const batch = batchOf([{ value: Buffer.alloc(batchBytesMax - overhead) }], limits);
  t.is(batch.storedBytes, batchBytesMax);
  const more = [{ value: Buffer.alloc(batchBytesMax - overhead + 1) }];
  t.throws(() => batchOf(more, limits), { instanceOf: VaultError });
  for (const position of [0, 1, pageBytes - 1]) {
    const start = { position, leading: Buffer.alloc(position), firstOffset: 2n ** 53n - 2n, timestamp: 2 ** 42 };
    const builder = new CommitBuilder({ ...start, epoch: 1, seed: 1 }, batch.storedBytes + 400, 1000);
    builder.add(batch, { id: "x".repeat(128), sequence: 1n });
    const commit = builder.finish();
    t.true(commit.bytes.length <= writeBytesMax);
    t.truthy(parseFrame(commit.bytes, position, position, 1));
  }
});
