import { create, toBinary } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { MessageInitShape } from "@bufbuild/protobuf";
import test from "ava";
import { RecordSchema } from "../../gen/messagevault/v1/record_pb.ts";
import { StreamRecord } from "../../src/client/stream-record.ts";
import { MalformedError, WireCursor } from "../../src/segment/wire.ts";

function read(init: MessageInitShape<typeof RecordSchema>): StreamRecord {
  return readBytes(Buffer.from(toBinary(RecordSchema, create(RecordSchema, init))));
}

function readBytes(bytes: Buffer): StreamRecord {
  return new StreamRecord(new WireCursor(bytes), bytes, bytes.length);
}

test("stream record - tells what generated code tells", (t) => {
  const record = read({
    offset: 2n ** 53n - 2n,
    timestamp: timestampFromMs(1_700_000_000_123),
    key: Buffer.from("schlüssel"),
    value: Buffer.from('{"n":1}'),
    headers: [
      { name: "a", value: Buffer.from([0, 255]) },
      { name: "a", value: Buffer.alloc(300, 1) },
      { name: "", value: Buffer.alloc(0) },
    ],
    eventTime: timestampFromMs(-1),
  });
  t.is(record.offset, 2n ** 53n - 2n);
  t.is(record.nextOffset, 2n ** 53n - 1n);
  t.is(record.timestamp, 1_700_000_000_123);
  t.is(record.keyText(), "schlüssel");
  t.deepEqual(record.key, Buffer.from("schlüssel"));
  t.deepEqual(record.json(), { n: 1 });
  t.is(record.valueBytes, 7);
  t.is(record.eventTime, -1);
  t.deepEqual(
    record.headers.map(({ name, value }) => [name, value.length]),
    [
      ["a", 2],
      ["a", 300],
      ["", 0],
    ],
  );
});

test("stream record - what is absent is empty", (t) => {
  const record = read({});
  t.is(record.offset, 0n);
  t.is(record.timestamp, 0);
  t.is(record.text(), "");
  t.is(record.key.length, 0);
  t.deepEqual(record.headers, []);
  t.is(record.eventTime, undefined);
});

test("stream record - a value is a view of the response", (t) => {
  const bytes = Buffer.from(toBinary(RecordSchema, create(RecordSchema, { value: Buffer.from("a") })));
  t.is(readBytes(bytes).value.buffer, bytes.buffer);
});

test("stream record - bytes that end too early, or go on too far, are malformed", (t) => {
  const bytes = Buffer.from(
    toBinary(RecordSchema, create(RecordSchema, { offset: 300n, key: Buffer.from("k"), value: Buffer.from("value") })),
  );
  let fine = 0;
  for (let length = 0; length < bytes.length; length++) {
    try {
      readBytes(bytes.subarray(0, length));
      fine++;
    } catch (error) {
      t.true(error instanceof MalformedError);
    }
  }
  // A message may end behind any of its fields.
  t.is(fine, 3);
  t.throws(() => new StreamRecord(new WireCursor(bytes), bytes, bytes.length - 1), { instanceOf: MalformedError });
});

test("stream record - offsets may have 64 bits", (t) => {
  for (const offset of [0n, 127n, 128n, 2n ** 49n - 1n, 2n ** 49n, 2n ** 53n, 2n ** 64n - 1n]) {
    t.is(read({ offset }).offset, offset);
  }
});
