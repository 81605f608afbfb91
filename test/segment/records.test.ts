import { fromBinary } from "@bufbuild/protobuf";
import test from "ava";
import { SubscribeResponseSchema } from "../../gen/messagevault/v1/vault_pb.ts";
import { encodeTimestampField } from "../../src/segment/commit.ts";
import type { Selection } from "../../src/segment/records.ts";
import { selectRecords, walkRecords } from "../../src/segment/records.ts";
import { createRandom } from "../support/create-clock.ts";
import { batchOf } from "../support/publish-records.ts";
import { below, randomRecords } from "../support/random-records.ts";
import { storeBatch } from "../support/store-batch.ts";

const everything: Selection = {
  fromOffset: 0n,
  untilOffset: undefined,
  bytesMax: Infinity,
  alwaysOne: true,
  countMax: Infinity,
  keyPrefix: new Uint8Array(),
};

function offsetsOf(pieces: readonly Buffer[]): bigint[] {
  return fromBinary(SubscribeResponseSchema, Buffer.concat(pieces)).records.map((record) => record.offset);
}

test("records - any selection is what picking from the decoded records gives", (t) => {
  const random = createRandom(11);
  for (let round = 0; round < 500; round++) {
    const first = BigInt(below(random, 1000));
    const payload = storeBatch(batchOf(randomRecords(random, 12, 50)), first, 1000);
    const all = fromBinary(SubscribeResponseSchema, payload).records;
    const sizes = all.map(
      (_, i) => selectRecords(payload, first, { ...everything, fromOffset: first + BigInt(i), countMax: 1 }).bytes,
    );
    const sample = all[below(random, all.length)]!.key;
    const selection: Selection = {
      fromOffset: first + BigInt(below(random, all.length)),
      untilOffset: random() < 0.5 ? undefined : first + BigInt(below(random, all.length + 2)),
      bytesMax: random() < 0.5 ? Infinity : below(random, 200),
      alwaysOne: random() < 0.5,
      countMax: random() < 0.5 ? Infinity : below(random, 6),
      keyPrefix: random() < 0.5 ? new Uint8Array() : sample.subarray(0, 1 + below(random, 3)),
    };
    const expected: bigint[] = [];
    let bytes = 0;
    let next = first;
    for (const [i, record] of all.entries()) {
      if (selection.untilOffset !== undefined && record.offset >= selection.untilOffset) break;
      const prefix = Buffer.from(selection.keyPrefix);
      const wanted = record.offset >= selection.fromOffset && prefix.equals(record.key.subarray(0, prefix.length));
      if (wanted) {
        const fits = bytes + sizes[i]! <= selection.bytesMax || (expected.length === 0 && selection.alwaysOne);
        if (expected.length >= selection.countMax || !fits) break;
        expected.push(record.offset);
        bytes += sizes[i]!;
      }
      next = record.offset + 1n;
    }
    const selected = selectRecords(payload, first, selection);
    t.deepEqual(offsetsOf(selected.pieces), expected);
    t.like(selected, { bytes, count: expected.length, nextOffset: next });
  }
});

test("records - what lies side by side is one piece", (t) => {
  const payload = storeBatch(batchOf([..."aabba"].map((key) => ({ key: Buffer.from(key) }))), 0n, 1);
  t.is(selectRecords(payload, 0n, everything).pieces.length, 1);
  t.is(selectRecords(payload, 0n, { ...everything, keyPrefix: Buffer.from("a") }).pieces.length, 2);
});

test("records - a walk counts what is whole and says what is wrong", (t) => {
  const payload = storeBatch(batchOf([{ value: Buffer.from("one") }, { value: Buffer.from("two") }, {}]), 9n, 1234);
  const stamp = encodeTimestampField(1234);
  t.deepEqual(walkRecords(payload, 9n, stamp), { count: 3, bytes: payload.length, problem: undefined });
  t.like(walkRecords(payload, 8n), { count: 0 });
  t.regex(walkRecords(payload, 8n).problem!, /record 8 says that it is 9/);
  t.regex(walkRecords(payload, 9n, encodeTimestampField(1235)).problem!, /another timestamp/);
  const cut = payload.subarray(0, payload.length - 1);
  t.like(walkRecords(cut, 9n), { count: 2 });
  t.regex(walkRecords(cut, 9n).problem!, /record 11 is malformed/);
  t.like(walkRecords(Buffer.concat([payload, Buffer.from([0])]), 9n), {
    count: 3,
    problem: "record 12 does not begin as one",
  });
  const fromZero = storeBatch(batchOf([{}, {}]), 0n, 1234);
  t.deepEqual(walkRecords(fromZero, 0n, stamp), { count: 2, bytes: fromZero.length, problem: undefined });
});
