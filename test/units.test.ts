import test from "ava";

import { formatBytes, formatDuration, parseBytes, parseDuration } from "../src/units.ts";

test("size - is read with or without a unit, in any case", (t) => {
  t.is(parseBytes("4096"), 4096);
  t.is(parseBytes("64MiB"), 64 * 1024 ** 2);
  t.is(parseBytes("3.5 mib"), 3.5 * 1024 ** 2);
  t.is(parseBytes("2TiB"), 2 * 1024 ** 4);
});

test("size - what is none is undefined", (t) => {
  for (const bad of ["", "x", "MiB", "-1", "1MB", "1.5", "0.1KiB", "1e3", "9007199254740993", "1 2"]) {
    t.is(parseBytes(bad), undefined, bad);
  }
});

test("time - is read in the unit it has, or the one that is usual there", (t) => {
  t.is(parseDuration("250"), 250);
  t.is(parseDuration("10s"), 10_000);
  t.is(parseDuration("24h"), 86_400_000);
  t.is(parseDuration("1.5 m"), 90_000);
  t.is(parseDuration("15", 1000), 15);
  t.is(parseDuration("1m", 1000), 60);
  for (const bad of ["", "s", "1y", "-1s", "0.5"]) t.is(parseDuration(bad), undefined, bad);
  t.is(parseDuration("100ms", 1000), undefined);
});

test("units - what is written can be read", (t) => {
  for (const value of [0, 1, 1023, 1024, 3.5 * 1024 ** 2, 4096 * 1024 ** 4])
    t.is(parseBytes(formatBytes(value)), value);
  for (const value of [0, 1, 999, 1000, 90_000, 86_400_000, 7 * 86_400_000]) {
    t.is(parseDuration(formatDuration(value)), value);
  }
  t.is(formatDuration(86_400_000), "24 h");
  t.is(formatBytes(64 * 1024 ** 2), "64 MiB");
});
