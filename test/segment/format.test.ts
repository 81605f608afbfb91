import { fromBinary } from "@bufbuild/protobuf";
import test from "ava";
import { SubscribeResponseSchema } from "../../gen/messagevault/v1/vault_pb.ts";
import {
  type Frame,
  headerBytes,
  incarnationSeed,
  parseFrame,
  peekFrameBytes,
  readProducerEntries,
} from "../../src/segment/format.ts";
import { findFrame } from "../../src/segment/scan.ts";
import { buildCommit, someRecords, testSeed } from "../support/build-commit.ts";
import { createRandom } from "../support/create-clock.ts";

const producer = { id: "p1", sequence: 7n };
const golden = buildCommit({ position: 8192 + 100, firstOffset: 300n }, [
  { records: [{ key: Buffer.from("k"), value: Buffer.from("hello") }, {}], producer },
]);
const at = 100;

// Changing a byte here makes every vault that is out there unreadable: a new version of the format, not a new golden.
const goldenFrame = [
  "4d564601", // magic and version
  "e959fb22", // CRC
  "2e000000", // payload length
  "1b000000", // producer section length
  "02000000", // records
  "01000000", // flags, codec
  "2c01000000000000", // first offset
  "7b68e5cf8b010000", // timestamp
  "0300000000000000", // epoch
  "6420000000000000", // position of the commit
  "0000000000000000", // reserved
  "0a1a08ac02120b0880e2cfaa0610c0a9d33a1a016b220568656c6c6f", // record 300
  "0a1008ad02120b0880e2cfaa0610c0a9d33a", // record 301
  "07000000000000002c0100000000000002000000e9d45470027031", // producer section
].join("");

test("frame - the bytes are those that were stored before", (t) => {
  const frame = golden.bytes.subarray(at, at + (golden.endPosition - golden.position));
  t.is(frame.toString("hex"), goldenFrame);
});

test("frame - it reads back as it was written", (t) => {
  const frame = parseFrame(golden.bytes, at, golden.position, testSeed)!;
  t.is(frame.position, 8292);
  t.is(frame.endPosition, golden.endPosition);
  t.is(frame.firstOffset, 300n);
  t.is(frame.nextOffset, 302n);
  t.is(frame.recordCount, 2);
  t.is(frame.flags, 1);
  t.is(frame.epoch, 3);
  t.is(frame.timestamp, 1_700_000_000_123);
  t.is(frame.commitPosition, 8292);
  const [entry] = readProducerEntries(frame.producerSection);
  t.like(entry, { id: "p1", sequence: 7n, firstOffset: 300n, count: 2 });
  const { records } = fromBinary(SubscribeResponseSchema, frame.payload);
  t.deepEqual(
    records.map((record) => record.offset),
    [300n, 301n],
  );
});

test("frame - a flipped bit anywhere is found", (t) => {
  const end = at + golden.endPosition - golden.position;
  for (let place = at; place < end; place++) {
    for (let bit = 0; bit < 8; bit++) {
      const bytes = Buffer.from(golden.bytes);
      bytes[place]! ^= 1 << bit;
      t.is(parseFrame(bytes, at, golden.position, testSeed), undefined, `byte ${place - at}, bit ${bit}`);
    }
  }
});

test("frame - it is whole or it does not count", (t) => {
  const end = at + golden.endPosition - golden.position;
  for (let length = at; length < end; length++) {
    t.is(parseFrame(golden.bytes.subarray(0, length), at, golden.position, testSeed), undefined);
  }
  t.truthy(parseFrame(golden.bytes.subarray(0, end), at, golden.position, testSeed));
});

test("frame - absurd lengths do not count", (t) => {
  for (const place of [8, 12]) {
    for (const length of [0xffffffff, 4 * 1024 * 1024]) {
      const bytes = Buffer.from(golden.bytes);
      bytes.writeUInt32LE(length, at + place);
      t.is(peekFrameBytes(bytes, at), undefined);
    }
  }
});

test("frame - the same bytes do not pass at another position or in another incarnation", (t) => {
  for (const position of [0, 4096, 8291, 8293, 8292 + 512, 8292 + 2 ** 32, 8292 + 2 ** 40]) {
    t.is(parseFrame(golden.bytes, at, position, testSeed), undefined, `${position}`);
  }
  t.is(parseFrame(golden.bytes, at, golden.position, incarnationSeed("f".repeat(32))), undefined);
});

test("frame - a payload that holds frames copied from elsewhere holds none", (t) => {
  const copied = golden.bytes.subarray(at, at + golden.endPosition - golden.position);
  const { bytes } = buildCommit({}, [{ records: [{ value: Buffer.concat([copied, copied]) }, { value: copied }] }]);
  const found: Frame[] = [];
  for (let from = 0; ;) {
    const frame = findFrame(bytes, 0, from, testSeed, () => true);
    if (frame === undefined) break;
    found.push(frame);
    from = frame.position + 1;
  }
  t.deepEqual(
    found.map((frame) => frame.position),
    [0],
  );
});

test("frame - random bytes are no frame and do no harm", (t) => {
  const random = createRandom(5);
  for (let round = 0; round < 2000; round++) {
    const bytes = Buffer.from(Array.from({ length: Math.floor(random() * 200) }, () => Math.floor(random() * 256)));
    if (bytes.length >= headerBytes) golden.bytes.copy(bytes, 0, at, at + 4);
    t.is(parseFrame(bytes, 0, 0, testSeed), undefined);
    t.is(
      findFrame(bytes, 0, 0, testSeed, () => true),
      undefined,
    );
  }
});

test("frame - producers' ids of every length and script come back", (t) => {
  const ids = ["a", "x".repeat(128), "é".repeat(64), "\u{1f980}".repeat(32)];
  const entries = ids.map((id, i) => ({
    records: someRecords(1),
    producer: { id, sequence: 2n ** 64n - 1n - BigInt(i) },
  }));
  const [frame] = buildCommit({}, entries).frames;
  t.deepEqual(
    readProducerEntries(frame!.producerSection).map(({ id, sequence }) => ({ id, sequence })),
    entries.map((entry) => entry.producer),
  );
});
