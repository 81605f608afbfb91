import test from "ava";
import { ByteCache } from "../../src/segment/byte-cache.ts";

function createReads(cache: ByteCache<string>) {
  const made: string[] = [];
  const read = (key: string, bytes = 10) =>
    cache.get(key, async () => {
      made.push(key);
      return { value: `value of ${key}`, bytes };
    });
  return { made, read };
}

test("byte cache - what is wanted at once is read once", async (t) => {
  const { made, read } = createReads(new ByteCache(100, 4));
  const values = await Promise.all([read("a"), read("a"), read("b"), read("a")]);
  t.deepEqual(values, ["value of a", "value of a", "value of b", "value of a"]);
  t.deepEqual(made, ["a", "b"]);
});

test("byte cache - the bytes are bounded, what was used last stays", async (t) => {
  const { made, read } = createReads(new ByteCache(30, 4));
  for (const key of ["a", "b", "c", "a", "d"]) await read(key);
  t.deepEqual(made, ["a", "b", "c", "d"]);
  await read("a");
  t.deepEqual(made, ["a", "b", "c", "d"]);
  await read("b");
  t.deepEqual(made, ["a", "b", "c", "d", "b"]);
});

test("byte cache - what alone is larger than the cache is kept until the next", async (t) => {
  const cache = new ByteCache<string>(30, 4);
  const { read } = createReads(cache);
  await read("huge", 1000);
  t.true(cache.has("huge"));
  await read("a");
  t.false(cache.has("huge"));
  t.true(cache.has("a"));
});

test("byte cache - a read that fails fails all who wait and is made again", async (t) => {
  const cache = new ByteCache<string>(100, 4);
  const fail = () => cache.get("a", () => Promise.reject(new Error("no")));
  const waiting = [fail(), fail()];
  for (const promise of waiting) await t.throwsAsync(promise, { message: "no" });
  t.false(cache.has("a"));
  t.is(await createReads(cache).read("a"), "value of a");
});

test("byte cache - so many reads are under way and the others wait in line", async (t) => {
  const cache = new ByteCache<string>(1000, 2);
  let underWay = 0;
  let most = 0;
  const gates = Array.from({ length: 6 }, () => Promise.withResolvers<void>());
  const reads = gates.map((gate, i) =>
    cache.get(`${i}`, async () => {
      most = Math.max(most, ++underWay);
      await gate.promise;
      underWay--;
      if (i % 2 === 0) throw new Error("no");
      return { value: "v", bytes: 1 };
    }),
  );
  for (const gate of gates) gate.resolve();
  const results = await Promise.allSettled(reads);
  t.is(most, 2);
  t.deepEqual(
    results.map((result) => result.status === "fulfilled"),
    [false, true, false, true, false, true],
  );
});

test("byte cache - what is forgotten while it is read is not kept, and costs nothing", async (t) => {
  const cache = new ByteCache<string>(30, 4);
  const gate = Promise.withResolvers<void>();
  const first = cache.get("s@1", async () => {
    await gate.promise;
    return { value: "old", bytes: 20 };
  });
  cache.forget("s@");
  t.false(cache.has("s@1"));
  const second = cache.get("s@1", async () => ({ value: "new", bytes: 20 }));
  gate.resolve();
  t.is(await first, "old");
  t.is(await second, "new");
  const { made, read } = createReads(cache);
  await read("a");
  t.is(await read("s@1"), "new");
  t.deepEqual(made, ["a"]);
});

/** A cache of 30 bytes that notes what it discards, and how to borrow values of 20 bytes from it. */
function createLender() {
  const discarded: string[] = [];
  const cache = new ByteCache<string>(30, 4, (value) => discarded.push(value));
  const borrow = (key: string, arrival = Promise.resolve()) =>
    cache.borrow(key, async () => {
      await arrival;
      return { value: key, bytes: 20 };
    });
  return { cache, discarded, borrow };
}

test("byte cache - what is on loan is discarded when the last who has it gives it back, once", async (t) => {
  const { discarded, borrow } = createLender();
  const [one, two] = await Promise.all([borrow("a"), borrow("a")]);
  one.giveBack();
  await borrow("b");
  t.deepEqual(discarded, []);
  one.giveBack();
  t.deepEqual(discarded, []);
  two.giveBack();
  two.giveBack();
  t.deepEqual(discarded, ["a"]);
});

test("byte cache - what is kept stays when it is given back, and is discarded when it makes room", async (t) => {
  const { discarded, borrow } = createLender();
  (await borrow("a")).giveBack();
  t.deepEqual(discarded, []);
  t.is((await borrow("a")).value, "a");
  const { giveBack } = await borrow("b");
  t.deepEqual(discarded, [], "it is on loan again");
  giveBack();
  await borrow("c");
  t.deepEqual(discarded, ["b"]);
});

test("byte cache - what makes room before those who wait for it have it is theirs", async (t) => {
  const { discarded, borrow } = createLender();
  const arrival = Promise.withResolvers<void>();
  const [a, b, c] = ["a", "b", "c"].map((key) => borrow(key, arrival.promise));
  arrival.resolve();
  const first = await a!;
  t.deepEqual(discarded, []);
  first.giveBack();
  t.deepEqual(discarded, ["a"]);
  (await b!).giveBack();
  (await c!).giveBack();
  t.deepEqual(discarded, ["a", "b"]);
});

test("byte cache - what is forgotten while it is read is discarded when it is given back", async (t) => {
  const { cache, discarded, borrow } = createLender();
  const arrival = Promise.withResolvers<void>();
  const borrowing = borrow("s@1", arrival.promise);
  cache.forget("s@");
  arrival.resolve();
  const { giveBack } = await borrowing;
  t.deepEqual(discarded, []);
  giveBack();
  t.deepEqual(discarded, ["s@1"]);
});

test("byte cache - a read that fails leaves nothing to discard", async (t) => {
  const { cache, discarded } = createLender();
  await t.throwsAsync(cache.borrow("a", () => Promise.reject(new Error("no"))));
  t.false(cache.has("a"));
  t.deepEqual(discarded, []);
});
