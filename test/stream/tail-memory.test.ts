import test from "ava";
import type { Commit } from "../../src/segment/commit.ts";
import { TailBudget, TailCache } from "../../src/stream/tail-cache.ts";
import { buildCommit, someRecords } from "../support/build-commit.ts";

const KiB = 1024;

/** Commits of 32 KiB, one behind the other, and a cache with room for two of them. */
function createCache({ owned = true, valueBytes = 32_000 } = {}) {
  const cache = new TailCache(new TailBudget(80 * KiB));
  let last: Commit | undefined;
  const append = (): Commit => {
    const start = last === undefined ? {} : { position: last.endPosition, firstOffset: last.nextOffset };
    last = buildCommit(start, [{ records: someRecords(1, valueBytes) }]);
    cache.append(last, owned);
    return last;
  };
  return { cache, append };
}

test("tail memory - a commit's memory is freed when it makes room for newer ones, or when all are given up", (t) => {
  const { cache, append } = createCache();
  const first = append();
  const others = [append(), append()];
  t.is(first.bytes.length, 0);
  t.true(others.every(({ bytes }) => bytes.length > 0));
  cache.clear();
  t.true(others.every(({ bytes }) => bytes.length === 0));
});

test("tail memory - what is on loan stays until all have given it back", (t) => {
  const { cache, append } = createCache();
  const first = append();
  const before = Buffer.from(first.frames[0]!.payload);
  const loans = [cache.framesFrom(0n)!, cache.framesFrom(0n)!];
  for (let i = 0; i < 3; i++) append();
  t.is(cache.framesFrom(0n), undefined);
  loans[0]!.giveBack();
  loans[0]!.giveBack();
  t.deepEqual(loans[1]!.value[0]!.payload, before);
  loans[1]!.giveBack();
  t.is(first.bytes.length, 0);
});

test("tail memory - what a loan was given back of stays while the cache holds it", (t) => {
  const { cache, append } = createCache();
  append();
  cache.framesFrom(0n)!.giveBack();
  t.true(cache.framesFrom(0n)!.value[0]!.payload.length > 32_000);
});

test("tail memory - frames that were copied out of a commit that is mostly empty stay, and its memory goes", (t) => {
  const cache = new TailCache(new TailBudget(80 * KiB));
  const commit = buildCommit({}, [{ records: someRecords(1, 9000) }]);
  const room = Buffer.allocUnsafeSlow(64 * KiB);
  room.set(commit.bytes);
  const bytes = room.subarray(0, commit.bytes.length);
  cache.append({ ...commit, bytes }, true);
  t.is(bytes.length, 0);
  t.true(cache.framesFrom(0n)!.value[0]!.payload.length > 9000);
});

test("tail memory - what others may look at is left alone, as is what is small", (t) => {
  for (const options of [{ owned: false }, { valueBytes: 100 }]) {
    const { cache, append } = createCache(options);
    const commit = append();
    cache.clear();
    t.true(commit.bytes.length > 0);
  }
});

test("tail memory - what lies behind the newest frame, or before the oldest, is not there", (t) => {
  const { cache, append } = createCache({ valueBytes: 10 });
  t.is(cache.framesFrom(0n), undefined);
  for (let i = 0; i < 5; i++) append();
  for (let offset = 0n; offset < 5n; offset++) t.is(cache.framesFrom(offset)!.value[0]!.firstOffset, offset);
  t.is(cache.framesFrom(5n), undefined);
  t.is(cache.framesFrom(9n), undefined);
  cache.dropOldest();
  t.is(cache.framesFrom(0n), undefined);
  t.is(cache.framesFrom(1n)!.value[0]!.firstOffset, 1n);
});
