import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import test from "ava";
import { toImported } from "../../src/cli/imported-record.ts";
import { isKind } from "../../src/errors.ts";
import { RecordSchema } from "../../gen/messagevault/v1/record_pb.ts";

const timestamp = { seconds: 1_764_000_000n, nanos: 5_000_000 };
const own = { key: Buffer.from("k"), value: Buffer.from([0, 1]), headers: [{ name: "h", value: Buffer.from("1") }] };

function importOf(init: object, original: "event-time" | "header" | "drop") {
  return toImported(toBinary(RecordSchema, create(RecordSchema, init)), original, "record 1");
}

test("imported record - offset and timestamp go, everything else stays byte for byte", (t) => {
  const plain = toBinary(RecordSchema, create(RecordSchema, own));
  t.deepEqual(Buffer.from(importOf({ offset: 7n, timestamp, ...own }, "drop")), Buffer.from(plain));
  t.deepEqual(Buffer.from(importOf(own, "event-time")), Buffer.from(plain));
  t.is(importOf({ offset: 7n, timestamp }, "drop").length, 0);
});

test("imported record - the original timestamp becomes the event time only where there is none", (t) => {
  const without = fromBinary(RecordSchema, importOf({ timestamp, ...own }, "event-time"));
  t.is(without.timestamp, undefined);
  t.like(without.eventTime, timestamp);
  const eventTime = { seconds: 3n, nanos: 0 };
  t.like(fromBinary(RecordSchema, importOf({ timestamp, eventTime, ...own }, "event-time")).eventTime, eventTime);
});

test("imported record - or it stands in headers behind those that there are", (t) => {
  const { headers, eventTime } = fromBinary(RecordSchema, importOf({ offset: 7n, timestamp, ...own }, "header"));
  t.deepEqual(
    headers.map(({ name, value }) => [name, Buffer.from(value).toString()]),
    [
      ["h", "1"],
      ["messagevault-offset", "7"],
      ["messagevault-timestamp", "2025-11-24T16:00:00.005Z"],
    ],
  );
  t.is(eventTime, undefined);
});

test("imported record - what is no Record message is refused by its name", (t) => {
  const error = t.throws(() => toImported(Buffer.from([0x22, 9]), "drop", "record 4 of x"));
  t.true(isKind(error, "invalid"));
  t.regex(error?.message ?? "", /^record 4 of x is no Record message/);
});
