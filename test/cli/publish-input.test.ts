import test from "ava";
import { pieceBytesMax, readDelimited, readLines } from "../../src/cli/publish-input.ts";
import { isKind } from "../../src/errors.ts";

async function* chunks(bytes: Buffer, chunkBytes: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += chunkBytes) yield bytes.subarray(at, at + chunkBytes);
}

async function collect(pieces: AsyncIterable<Uint8Array[]>): Promise<string[]> {
  const collected: string[] = [];
  for await (const many of pieces) collected.push(...many.map((piece) => Buffer.from(piece).toString()));
  return collected;
}

test("lines - come out the same however the input is cut", async (t) => {
  const input = Buffer.from("one\n\ntwo ünï\r\nlast");
  for (let chunkBytes = 1; chunkBytes <= input.length; chunkBytes++) {
    t.deepEqual(await collect(readLines(chunks(input, chunkBytes))), ["one", "", "two ünï\r", "last"]);
  }
});

test("lines - an end with or without a line feed makes no difference", async (t) => {
  t.deepEqual(await collect(readLines(chunks(Buffer.from("a\nb\n"), 2))), ["a", "b"]);
  t.deepEqual(await collect(readLines(chunks(Buffer.from(""), 2))), []);
});

test("lines - one that is too long is refused by its number", async (t) => {
  const input = Buffer.concat([Buffer.from("a\nb\n"), Buffer.alloc(pieceBytesMax + 1, 120)]);
  const error = await t.throwsAsync(collect(readLines(chunks(input, 1 << 20))));
  t.true(isKind(error, "invalid"));
  t.regex(error.message, /line 3 /);
});

test("delimited - records come out the same however the input is cut", async (t) => {
  const long = Buffer.alloc(300, 97);
  const input = Buffer.concat([
    Buffer.from([3]),
    Buffer.from("abc"),
    Buffer.from([0]),
    Buffer.from([0xac, 0x02]),
    long,
  ]);
  for (const chunkBytes of [1, 2, 3, 5, 299, 1000]) {
    t.deepEqual(await collect(readDelimited(chunks(input, chunkBytes))), ["abc", "", long.toString()]);
  }
});

test("delimited - an input that ends within a record, or is something else, is refused", async (t) => {
  const short = await t.throwsAsync(collect(readDelimited(chunks(Buffer.from([3, 97]), 10))));
  t.regex(short.message, /record 1 of standard input is cut short/);
  t.true(isKind(await t.throwsAsync(collect(readDelimited(chunks(Buffer.alloc(20, 0xff), 7)))), "invalid"));
});
