import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import test from "ava";
import { RecordSchema } from "../../gen/messagevault/v1/record_pb.ts";
import { PublishRequestSchema } from "../../gen/messagevault/v1/vault_pb.ts";
import { BatchBuilder, batchStoredBytesMax, encodeBatch } from "../../src/client/batch-builder.ts";
import { isKind } from "../../src/errors.ts";

test("batch builder - what it encodes is what protobuf decodes", (t) => {
  const batch = encodeBatch([
    { value: "plain" },
    {
      key: "k",
      value: Buffer.alloc(300, 7),
      headers: [
        { name: "a", value: "1" },
        { name: "a", value: "" },
      ],
    },
    { key: "", value: "", eventTime: 1_700_000_000_123 },
    { value: "ünï", headers: [{ name: "", value: Buffer.alloc(200) }] },
  ]);
  const { records } = fromBinary(PublishRequestSchema, batch.bytes);
  t.is(batch.recordCount, 4);
  t.deepEqual(
    records.map(({ key, value }) => [Buffer.from(key).toString(), Buffer.from(value).toString()]),
    [
      ["", "plain"],
      ["k", Buffer.alloc(300, 7).toString()],
      ["", ""],
      ["", "ünï"],
    ],
  );
  t.deepEqual(
    records[1]?.headers.map(({ name, value }) => [name, Buffer.from(value).toString()]),
    [
      ["a", "1"],
      ["a", ""],
    ],
  );
  t.is(records[2]?.eventTime === undefined ? undefined : timestampMs(records[2].eventTime), 1_700_000_000_123);
  t.is(records[3]?.headers[0]?.value.length, 200);
});

test("batch builder - a batch begins anew after it was taken", (t) => {
  const builder = new BatchBuilder();
  builder.add({ value: "first" });
  const first = builder.take();
  builder.add({ value: "second" });
  const second = builder.take();
  t.is(Buffer.from(fromBinary(PublishRequestSchema, first.bytes).records[0]!.value).toString(), "first");
  t.is(Buffer.from(fromBinary(PublishRequestSchema, second.bytes).records[0]!.value).toString(), "second");
  t.is(builder.recordCount, 0);
});

test("batch builder - an encoded record goes in as it is", (t) => {
  const record = toBinary(
    RecordSchema,
    fromBinary(RecordSchema, encodeBatch([{ key: "k", value: "v" }]).bytes.subarray(2)),
  );
  const builder = new BatchBuilder();
  builder.addEncoded(record);
  t.deepEqual(builder.take(), encodeBatch([{ key: "k", value: "v" }]));
});

test("batch builder - a record that no request can hold is invalid, one too many is overloaded", (t) => {
  const builder = new BatchBuilder();
  const tooLarge = t.throws(() => builder.add({ value: Buffer.alloc(batchStoredBytesMax) }));
  t.true(isKind(tooLarge, "invalid"));
  builder.add({ value: Buffer.alloc(batchStoredBytesMax / 2) });
  const tooMany = t.throws(() => builder.add({ value: Buffer.alloc(batchStoredBytesMax / 2) }));
  t.true(isKind(tooMany, "overloaded"));
  t.is(builder.take().recordCount, 1);
});
