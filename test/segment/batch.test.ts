import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import test from "ava";
import { RecordSchema } from "../../gen/messagevault/v1/record_pb.ts";
import { PublishRequestSchema, SubscribeResponseSchema } from "../../gen/messagevault/v1/vault_pb.ts";
import { VaultError } from "../../src/errors.ts";
import { parsePublishRequest } from "../../src/rpc/publish-request.ts";
import type { RecordBatch, RecordLimits } from "../../src/segment/batch.ts";
import { createRandom } from "../support/create-clock.ts";
import { batchOf, recordLimits } from "../support/publish-records.ts";
import { randomRecords } from "../support/random-records.ts";
import { storeBatch } from "../support/store-batch.ts";

/** A request with these record bodies, which need not be valid. */
function requestOf(...bodies: Uint8Array[]): Buffer {
  const writer = new BinaryWriter().tag(1, WireType.LengthDelimited).string("s");
  for (const body of bodies) writer.tag(2, WireType.LengthDelimited).bytes(body);
  return Buffer.from(writer.finish());
}

function parse(request: Buffer, limits: RecordLimits = recordLimits): RecordBatch {
  return parsePublishRequest(request, limits).batch;
}

function fieldOf(request: Buffer, limits?: RecordLimits): string | undefined {
  try {
    parse(request, limits);
  } catch (error) {
    if (error instanceof VaultError && error.kind === "invalid") return error.detail.field ?? error.message;
    throw error;
  }
  return undefined;
}

const writer = () => new BinaryWriter();
const good = toBinary(RecordSchema, create(RecordSchema, { value: Buffer.from("v") }));

test("batch - random requests are stored as protobuf-es reads them, offsets and timestamps apart", (t) => {
  const random = createRandom(1);
  for (let round = 0; round < 300; round++) {
    const records = randomRecords(random, 20);
    const firstOffset = BigInt(Math.floor(random() * 2 ** (random() * 50)));
    const timestamp = Math.floor(random() * 2 ** 41);
    const stored = storeBatch(batchOf(records), firstOffset, timestamp);
    const expected = records.map((record, i) => {
      const stamp = { offset: firstOffset + BigInt(i), timestamp: timestampFromMs(timestamp) };
      return create(RecordSchema, { ...record, ...stamp });
    });
    // Canonical input is stored canonically: so what protobuf-es makes of the same records is the same bytes.
    const bytes = toBinary(SubscribeResponseSchema, create(SubscribeResponseSchema, { records: expected }));
    t.deepEqual(stored, Buffer.from(bytes));
    const decoded = fromBinary(SubscribeResponseSchema, stored);
    t.deepEqual(toBinary(SubscribeResponseSchema, decoded), bytes);
    t.is(decoded.records.length, records.length);
  }
});

test("batch - what it counts is never less than what it takes, for offsets up to 2^53", (t) => {
  const random = createRandom(2);
  for (const firstOffset of [0n, 2n ** 35n, 2n ** 42n, 2n ** 49n, 2n ** 53n - 30n]) {
    const batch = batchOf(randomRecords(random, 20));
    const stored = storeBatch(batch, firstOffset, Date.UTC(3000, 0, 1) + 999);
    t.true(stored.length <= batch.storedBytes, `${stored.length} <= ${batch.storedBytes} at ${firstOffset}`);
    t.true(stored.length > batch.storedBytes - 16 * batch.count);
  }
});

test("batch - the publisher's offset and timestamp are ignored wherever they stand", (t) => {
  const stamp = (w: BinaryWriter) =>
    w.tag(1, WireType.Varint).uint64(99n).tag(2, WireType.LengthDelimited).bytes(Buffer.from("0801", "hex"));
  const key = (w: BinaryWriter) => w.tag(3, WireType.LengthDelimited).bytes(Buffer.from("k"));
  const value = (w: BinaryWriter) => w.tag(4, WireType.LengthDelimited).bytes(Buffer.from("v"));
  const bodies = [
    value(key(stamp(writer()))),
    stamp(value(key(writer()))),
    value(stamp(key(stamp(writer())))),
    stamp(stamp(writer())),
  ].map((w) => w.finish());
  const request = requestOf(...bodies);
  const { records } = fromBinary(SubscribeResponseSchema, storeBatch(parse(request), 7n, 5000));
  t.deepEqual(request, requestOf(...bodies), "a request that is sent on to another node is as it came");
  t.deepEqual(
    records.map((record) => record.offset),
    [7n, 8n, 9n, 10n],
  );
  t.true(records.every((record) => record.timestamp?.seconds === 5n));
  t.deepEqual(
    records.map((record) => Buffer.concat([record.key, record.value]).toString()),
    ["kv", "kv", "kv", ""],
  );
});

test("batch - unknown fields are kept", (t) => {
  const body = writer()
    .raw(good)
    .tag(7, WireType.Varint)
    .uint64(2n ** 63n)
    .tag(1000, WireType.LengthDelimited)
    .bytes(Buffer.from("new"))
    .tag(8, WireType.Bit32)
    .fixed32(1)
    .tag(9, WireType.Bit64)
    .fixed64(2n)
    .finish();
  const { records } = fromBinary(SubscribeResponseSchema, storeBatch(parse(requestOf(body)), 0n, 1));
  t.deepEqual(
    records[0]?.$unknown?.map((field) => field.no),
    [7, 1000, 8, 9],
  );
});

test("batch - sizes are refused from one byte over the limit", (t) => {
  const limits = { recordBytesMax: 100, keyBytesMax: 10, batchBytesMax: recordLimits.batchBytesMax };
  const value = (bytes: number) => toBinary(RecordSchema, create(RecordSchema, { value: Buffer.alloc(bytes) }));
  const key = (bytes: number) => toBinary(RecordSchema, create(RecordSchema, { key: Buffer.alloc(bytes) }));
  t.is(value(98).length, 100);
  t.is(fieldOf(requestOf(good, value(97)), limits), undefined);
  t.is(fieldOf(requestOf(good, value(98)), limits), undefined);
  t.is(fieldOf(requestOf(good, value(99)), limits), "records[1]");
  t.is(fieldOf(requestOf(key(10)), limits), undefined);
  t.is(fieldOf(requestOf(good, good, key(11)), limits), "records[2].key");
  const total = parse(requestOf(good, good)).storedBytes;
  t.is(fieldOf(requestOf(good, good), { ...limits, batchBytesMax: total }), undefined);
  t.is(fieldOf(requestOf(good, good), { ...limits, batchBytesMax: total - 1 }), "records");
  t.is(fieldOf(requestOf()), "records");
});

test("batch - each thing that is wrong in a record is refused by its field", (t) => {
  const time = (seconds: bigint, nanos: bigint) =>
    writer()
      .tag(6, WireType.LengthDelimited)
      .bytes(writer().tag(1, WireType.Varint).int64(seconds).tag(2, WireType.Varint).int64(nanos).finish())
      .finish();
  const header = (bytes: Uint8Array) => writer().tag(5, WireType.LengthDelimited).bytes(bytes).finish();
  const named = (name: string) =>
    header(Buffer.concat([Buffer.from([0x0a, name.length / 2]), Buffer.from(name, "hex")]));
  const hex = (text: string) => Buffer.from(text, "hex");
  const bad: readonly [string, Uint8Array, string][] = [
    ["field number 0", hex("0000"), "records[1]"],
    ["field number 0, as bytes", hex("0200"), "records[1]"],
    ["offset as bytes", hex("0a0101"), "records[1].offset"],
    ["timestamp as a number", hex("1001"), "records[1].timestamp"],
    ["key as a number", hex("1801"), "records[1].key"],
    ["value as 64 bits", hex("210000000000000000"), "records[1].value"],
    ["headers as 32 bits", hex("2d00000000"), "records[1].headers"],
    ["event_time as a number", hex("3001"), "records[1].event_time"],
    ["a group", hex("3b3c"), "records[1]"],
    ["the end of a group", hex("3c"), "records[1]"],
    ["wire type 6", hex("3e"), "records[1]"],
    ["wire type 7", hex("3f"), "records[1]"],
    ["a tag of six bytes", hex("9a808080800000"), "records[1]"],
    ["a tag that ends too early", hex("80"), "records[1]"],
    ["a key that ends too early", hex("1a05aabb"), "records[1].key"],
    ["a value longer than 4 GiB", hex("22ffffffffff01"), "records[1].value"],
    ["a value of almost 4 GiB", hex("22ffffffff0f"), "records[1].value"],
    ["a number without end", hex("38ffffffffffffffffffffff01"), "records[1]"],
    ["a header name that is no UTF-8", named("ff"), "records[1].headers.name"],
    ["a header name with half a surrogate", named("eda080"), "records[1].headers.name"],
    ["a header name that is overlong", named("c080"), "records[1].headers.name"],
    ["a header name that is cut", named("e282"), "records[1].headers.name"],
    ["a header's name as a number", header(hex("0801")), "records[1].headers"],
    ["a header's value as a number", header(hex("1001")), "records[1].headers"],
    ["a header longer than its record", hex("2a05"), "records[1].headers"],
    ["a header's value longer than the header", header(hex("1205aa")), "records[1].headers"],
    ["an event before the year 1", time(-62135596801n, 0n), "records[1].event_time"],
    ["an event after the year 9999", time(253402300800n, 0n), "records[1].event_time"],
    ["negative nanoseconds", time(0n, -1n), "records[1].event_time"],
    ["a billion nanoseconds", time(0n, 1000000000n), "records[1].event_time"],
    ["seconds as bytes", hex("320201010a00"), "records[1].event_time"],
  ];
  for (const [what, body, field] of bad) {
    t.is(fieldOf(requestOf(good, body, good)), field, what);
  }
  t.is(fieldOf(requestOf(time(-62135596800n, 0n), time(253402300799n, 999999999n))), undefined);
});

test("batch - the same records have the same checksum however the request is laid out", (t) => {
  const records = [{ value: Buffer.from("a") }, { value: Buffer.from("b") }];
  const bodies = records.map((record) => toBinary(RecordSchema, create(RecordSchema, record)));
  const spread = writer()
    .tag(2, WireType.LengthDelimited)
    .bytes(bodies[0]!)
    .tag(1, WireType.LengthDelimited)
    .string("s")
    .tag(3, WireType.Varint)
    .uint64(5n)
    .tag(2, WireType.LengthDelimited)
    .bytes(bodies[1]!)
    .tag(4, WireType.LengthDelimited)
    .bytes(writer().tag(1, WireType.LengthDelimited).string("p").finish())
    .finish();
  const plain = batchOf(records).checksum;
  t.is(parse(Buffer.from(spread)).checksum, plain);
  t.not(batchOf(records.toReversed()).checksum, plain);
  t.not(batchOf(records.slice(1)).checksum, plain);
});

/** What a stored batch looks like to whoever reads it; undefined where it was refused. */
function outcome(request: Buffer): Buffer | undefined {
  try {
    return storeBatch(parse(request), 1000n, 1_700_000_000_123);
  } catch (error) {
    if (error instanceof VaultError && error.kind === "invalid") return undefined;
    throw error;
  }
}

test("batch - of 10,000 mutated requests none is stored that cannot be read", (t) => {
  const random = createRandom(3);
  let stored = 0;
  for (let round = 0; round < 10_000; round++) {
    const request = create(PublishRequestSchema, { stream: "s", records: randomRecords(random, 4, 100) });
    const mutated = mutate(Buffer.from(toBinary(PublishRequestSchema, request)), random);
    const bytes = outcome(mutated);
    if (bytes === undefined) continue;
    stored++;
    const { records, $unknown } = fromBinary(SubscribeResponseSchema, bytes);
    const offsets = records.map((record) => record.offset);
    const dense = offsets.every((offset, i) => offset === 1000n + BigInt(i));
    const stamped = records.every((record) => record.timestamp?.nanos === 123_000_000);
    if (!dense || !stamped || offsets.length === 0 || $unknown !== undefined) t.fail(mutated.toString("hex"));
  }
  t.true(stored > 500 && stored < 9500, `${stored} of 10,000 were stored`);
});

function mutate(bytes: Buffer, random: () => number): Buffer {
  const below = (limit: number) => Math.floor(random() * limit);
  let result = bytes;
  for (let count = 1 + below(3); count > 0; count--) {
    const at = below(result.length);
    const kind = below(5);
    if (kind === 0) result[at] = below(256);
    else if (kind === 1) result[at] = result[at]! ^ (1 << below(8));
    else if (kind === 2) result = result.subarray(0, Math.max(1, at));
    else if (kind === 3)
      result = Buffer.concat([result.subarray(0, at), Buffer.from([below(256)]), result.subarray(at)]);
    else result = Buffer.concat([result.subarray(0, at), result.subarray(Math.min(result.length, at + 1 + below(4)))]);
    if (result.length === 0) return Buffer.from([0]);
  }
  return result;
}
