import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import test from "ava";
import { SubscribeRequestSchema, SubscribeResponseSchema } from "../../gen/messagevault/v1/vault_pb.ts";
import { createCursor } from "../../src/client/cursor.ts";
import { readDelivery } from "../../src/client/delivery.ts";
import type { Delivery } from "../../src/client/delivery.ts";
import { isKind } from "../../src/errors.ts";

function delivery(nextOffset: bigint, recordCount: number, tailOffset = 1000n): Delivery {
  const response = create(SubscribeResponseSchema, {
    records: Array.from({ length: recordCount }, () => ({})),
    nextOffset,
    tailOffset,
    incarnation: "feed",
  });
  const before = { incarnation: "", lastTimestamp: undefined };
  return readDelivery(Buffer.from(toBinary(SubscribeResponseSchema, response)), before);
}

test("cursor - a start that names no offset is resumed from the offset behind the last delivery", (t) => {
  for (const start of [
    { at: "earliest" },
    { at: "latest" },
    { at: "timestamp", timestamp: 1 },
    { at: "last", count: 5n },
  ] as const) {
    const cursor = createCursor("s", { start });
    t.is(fromBinary(SubscribeRequestSchema, cursor.request()).start.case, start.at);
    cursor.advance(delivery(17n, 3));
    const resumed = fromBinary(SubscribeRequestSchema, cursor.request());
    t.deepEqual(resumed.start, { case: "offset", value: 17n });
    t.is(resumed.incarnation, "feed");
  }
});

test("cursor - a count is what is left of it", (t) => {
  const cursor = createCursor("s", { start: { at: "earliest" }, end: { at: "count", count: 10n } });
  cursor.advance(delivery(50n, 4));
  t.deepEqual(fromBinary(SubscribeRequestSchema, cursor.request()).end, { case: "maxRecords", value: 6n });
  t.false(cursor.isDone());
  cursor.advance(delivery(90n, 6));
  t.true(cursor.isDone());
});

test("cursor - the tail as an end is the one that the first delivery told", (t) => {
  const cursor = createCursor("s", { start: { at: "earliest" }, end: { at: "tail" } });
  cursor.advance(delivery(50n, 4, 100n));
  cursor.advance(delivery(60n, 4, 200n));
  t.deepEqual(fromBinary(SubscribeRequestSchema, cursor.request()).end, { case: "untilOffset", value: 100n });
  cursor.advance(delivery(100n, 4, 300n));
  t.true(cursor.isDone());
});

test("cursor - a vault that goes back is corrupt", (t) => {
  const cursor = createCursor("s", {});
  cursor.advance(delivery(50n, 4));
  t.true(
    isKind(
      t.throws(() => cursor.advance(delivery(49n, 1))),
      "corrupt",
    ),
  );
});
