import { create, toBinary } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import test from "ava";
import { SubscribeResponseSchema } from "../../gen/messagevault/v1/vault_pb.ts";
import { cutRecords, readDelivery } from "../../src/client/delivery.ts";
import { isKind } from "../../src/errors.ts";

const response = create(SubscribeResponseSchema, {
  records: [
    { offset: 7n, value: Buffer.from("a") },
    { offset: 8n, value: Buffer.alloc(500, 1) },
  ],
  nextOffset: 9n,
  tailOffset: 2n ** 63n,
  tailTimestamp: timestampFromMs(1_700_000_000_123),
  caughtUp: true,
  incarnation: "feed",
});
const bytes = Buffer.from(toBinary(SubscribeResponseSchema, response));
const nothingBefore = { incarnation: "", lastTimestamp: undefined };

test("delivery - tells what the response says, and decodes records when they are looked at", (t) => {
  const delivery = readDelivery(bytes, nothingBefore);
  t.is(delivery.recordCount, 2);
  t.is(delivery.nextOffset, 9n);
  t.is(delivery.tailOffset, 2n ** 63n);
  t.is(delivery.tailTimestamp, 1_700_000_000_123);
  t.true(delivery.caughtUp);
  t.is(delivery.incarnation, "feed");
  t.deepEqual(
    delivery.records.map(({ offset }) => offset),
    [7n, 8n],
  );
  t.is(delivery.records, delivery.records);
});

test("delivery - a response without incarnation has the one that was known", (t) => {
  const heartbeat = readDelivery(Buffer.alloc(0), { incarnation: "known", lastTimestamp: 17 });
  t.is(heartbeat.incarnation, "known");
  t.is(heartbeat.lastTimestamp, 17);
  t.is(heartbeat.recordCount, 0);
  t.deepEqual(heartbeat.records, []);
});

test("delivery - records can be cut out as they are", (t) => {
  t.deepEqual(
    [...cutRecords(bytes)].map((record) => record.length > 0),
    [true, true],
  );
  const again = Buffer.concat([...cutRecords(bytes)].map((record) => Buffer.from(record)));
  t.true(Buffer.from(bytes).includes(again.subarray(0, 3)));
});

test("delivery - bytes that are no response are corrupt", (t) => {
  t.true(
    isKind(
      t.throws(() => readDelivery(bytes.subarray(0, bytes.length - 1), nothingBefore)),
      "corrupt",
    ),
  );
});
