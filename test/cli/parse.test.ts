import test from "ava";
import { parseEnd, parseOffset, parsePoint, parseStart } from "../../src/cli/parse.ts";

test("start - every way of saying it is understood", (t) => {
  t.deepEqual(parseStart("earliest"), { at: "earliest" });
  t.deepEqual(parseStart("latest"), { at: "latest" });
  t.deepEqual(parseStart("last:10"), { at: "last", count: 10n });
  t.deepEqual(parseStart("42"), { at: "offset", offset: 42n });
  t.deepEqual(parseStart("2026-11-22"), { at: "timestamp", timestamp: Date.UTC(2026, 10, 22) });
  t.deepEqual(parseStart("2026-11-22T10:00:00.5+01:00"), {
    at: "timestamp",
    timestamp: Date.UTC(2026, 10, 22, 9, 0, 0, 500),
  });
});

test("start - what makes no sense is refused with an example", (t) => {
  for (const text of ["", "last:", "last:x", "-1", "1.5", "tail", "yesterday", "2026-13-45", "18446744073709551616"]) {
    t.throws(() => parseStart(text), { message: /such as/ }, text);
  }
});

test("end - every way of saying it is understood", (t) => {
  t.deepEqual(parseEnd("tail"), { at: "tail" });
  t.deepEqual(parseEnd("count:5"), { at: "count", count: 5n });
  t.deepEqual(parseEnd("18446744073709551615"), { at: "offset", offset: 2n ** 64n - 1n });
  t.throws(() => parseEnd("latest"));
});

test("point - is an offset or a timestamp", (t) => {
  t.deepEqual(parsePoint("0"), { offset: 0n });
  t.deepEqual(parsePoint("1970-01-01T00:00:01Z"), { timestamp: 1000 });
  t.throws(() => parseOffset("x"));
});
