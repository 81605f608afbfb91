import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import test from "ava";
import { createStamper, readStamps } from "../../bench/workers/stamps.ts";
import { PublishRequestSchema, SubscribeResponseSchema } from "../../gen/messagevault/v1/vault_pb.ts";

test("stamps - are found again in what a subscription gets, in order", (t) => {
  const stamp = createStamper("numbers", 3, 250);
  const { records } = fromBinary(PublishRequestSchema, stamp(70_000));
  t.is(records.length, 3);
  const stored = [...records, ...fromBinary(PublishRequestSchema, stamp(70_001)).records].map((record, offset) => {
    return { ...record, offset: BigInt(offset), timestamp: timestampFromMs(1) };
  });
  const message = create(SubscribeResponseSchema, { records: stored, nextOffset: 6n, incarnation: "x".repeat(32) });
  const response = Buffer.from(toBinary(SubscribeResponseSchema, message));
  t.deepEqual(readStamps(response), [70_000, 70_000, 70_000, 70_001, 70_001, 70_001]);
});

test("stamps - records without one are passed over", (t) => {
  const message = create(SubscribeResponseSchema, {
    records: [{ value: Buffer.alloc(250) }, { value: Buffer.alloc(2) }, { key: Buffer.from("k") }],
  });
  t.deepEqual(readStamps(Buffer.from(toBinary(SubscribeResponseSchema, message))), []);
});
