import test from "ava";
import { BinaryReader, BinaryWriter } from "@bufbuild/protobuf/wire";
import { MalformedError, varintBytes, WireCursor, writeVarint } from "../../src/segment/wire.ts";

const edges = [7, 14, 21, 28, 31, 32, 35, 42, 49, 53].flatMap((bits) => [2 ** bits - 2, 2 ** bits - 1, 2 ** bits]);
const numbers = [0, 1, ...edges].filter(Number.isSafeInteger);

test("wire - numbers are written as protobuf-es writes them", (t) => {
  for (const number of numbers) {
    const bytes = Buffer.alloc(10);
    const end = writeVarint(bytes, 0, number);
    t.deepEqual(bytes.subarray(0, end), Buffer.from(new BinaryWriter().uint64(BigInt(number)).finish()), `${number}`);
    t.is(varintBytes(number), end, `${number}`);
    t.is(new WireCursor(bytes, 0, end).readVarint64(), BigInt(number), `${number}`);
  }
});

test("wire - 64-bit numbers are read as protobuf-es reads them", (t) => {
  for (const number of [2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n]) {
    const bytes = new BinaryWriter().uint64(number).finish();
    t.is(new WireCursor(bytes).readVarint64(), number);
    t.is(BigInt(new BinaryReader(bytes).uint64()), number);
  }
});

test("wire - a tag or length has at most 5 bytes and 32 bits", (t) => {
  const read = (hex: string) => new WireCursor(Buffer.from(hex, "hex")).readVarint();
  t.is(read("ffffffff0f"), 2 ** 32 - 1);
  t.is(read("8080808000"), 0);
  t.throws(() => read("ffffffff1f"), { instanceOf: MalformedError });
  t.throws(() => read("808080808000"), { instanceOf: MalformedError });
  t.throws(() => read("80808080"), { instanceOf: MalformedError, message: /too early/ });
  t.throws(() => read(""), { instanceOf: MalformedError });
});

test("wire - values are passed over, and never beyond the end", (t) => {
  const cases: readonly [number, string][] = [
    [0, "ffffffffffffffffff01"],
    [1, "0102030405060708"],
    [2, "03aabbcc"],
    [5, "01020304"],
  ];
  for (const [wireType, hex] of cases) {
    const bytes = Buffer.from(hex, "hex");
    const cursor = new WireCursor(bytes);
    cursor.skip(wireType);
    t.is(cursor.position, bytes.length);
    const short = new WireCursor(bytes, 0, bytes.length - 1);
    t.throws(() => short.skip(wireType), { instanceOf: MalformedError }, `wire type ${wireType}`);
  }
  for (const wireType of [3, 4, 6, 7]) {
    t.throws(() => new WireCursor(Buffer.alloc(8)).skip(wireType), { instanceOf: MalformedError });
  }
  const endless = new WireCursor(Buffer.alloc(11, 0x80));
  t.throws(() => endless.skip(0), { instanceOf: MalformedError });
  const absurd = new WireCursor(Buffer.from("ffffffff0f00", "hex"));
  t.throws(() => absurd.skip(2), { instanceOf: MalformedError, message: /beyond the end/ });
});
