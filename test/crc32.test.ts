import { randomBytes, randomInt } from "node:crypto";
import { copyFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { crc32 as portableCrc32 } from "node:zlib";
import test from "ava";
import { crc32 } from "../src/crc32.ts";
import { createDirectory } from "./support/create-directory.ts";

test("crc32 - the check value of the standard's catalogue - is right", (t) => {
  t.is(crc32(Buffer.from("123456789")), 0xcb_f4_39_26);
  t.is(crc32(Buffer.alloc(0)), 0);
  t.is(crc32(Buffer.alloc(0), 0xde_ad_be_ef), 0xde_ad_be_ef);
});

test("crc32 - views of any length, place and running value - agrees with zlib", (t) => {
  const bytes = randomBytes(70_000);
  for (let i = 0; i < 2000; i++) {
    const start = randomInt(200);
    const length = randomInt(i % 10 === 0 ? 69_000 : 600);
    const value = randomInt(2 ** 32);
    const view = bytes.subarray(start, start + length);
    t.is(crc32(view, value), portableCrc32(view, value), `${length} bytes at ${start}, from ${value}`);
  }
});

test("crc32 - in pieces - is that of the whole", (t) => {
  const bytes = randomBytes(10_000);
  t.is(crc32(bytes.subarray(3333), crc32(bytes.subarray(0, 3333))), portableCrc32(bytes));
});

test("crc32 - where the library is not there - is zlib's", async (t) => {
  const path = join(await createDirectory(t), "crc32.ts");
  await copyFile(join(import.meta.dirname, "../src/crc32.ts"), path);
  const elsewhere: { crc32: unknown } = await import(pathToFileURL(path).href);
  t.is(elsewhere.crc32, portableCrc32);
  if (["x64", "arm64"].includes(process.arch)) t.not(crc32, portableCrc32, "here the library is there");
});
