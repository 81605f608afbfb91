import { create, toBinary } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import test from "ava";
import { SubscribeResponseSchema } from "../../gen/messagevault/v1/vault_pb.ts";
import { readDelivery } from "../../src/client/delivery.ts";
import type { Delivery } from "../../src/client/delivery.ts";
import { Merge } from "../../src/client/merge.ts";
import type { MergedSubscription } from "../../src/client/merge.ts";

interface Told {
  /** The first record's offset, and the records' timestamps. */
  readonly first: number;
  readonly times?: readonly number[];
  readonly tail?: number;
  readonly completeUntil?: number;
}

function deliver({ first, times = [], tail = first + times.length, completeUntil }: Told): Delivery {
  const records = times.map((at, i) => ({ offset: BigInt(first + i), timestamp: timestampFromMs(at) }));
  const response = create(SubscribeResponseSchema, {
    records,
    nextOffset: BigInt(first + times.length),
    tailOffset: BigInt(tail),
    ...(completeUntil === undefined ? {} : { completeUntil: timestampFromMs(completeUntil) }),
  });
  const bytes = Buffer.from(toBinary(SubscribeResponseSchema, response));
  return readDelivery(bytes, { incarnation: "feed", lastTimestamp: undefined });
}

/** A stream whose deliveries come when the test says so. */
function createSource() {
  const waiting: Told[] = [];
  const state = { ended: false };
  let wake = Promise.withResolvers<void>();
  let pulls = 0;
  async function* deliveries(): AsyncGenerator<Delivery, void> {
    for (;;) {
      pulls++;
      while (waiting.length === 0 && !state.ended) {
        await wake.promise;
        wake = Promise.withResolvers();
      }
      const told = waiting.shift();
      if (told === undefined) return;
      yield deliver(told);
    }
  }
  return {
    deliveries: deliveries(),
    get pulls() {
      return pulls;
    },
    tell(...told: readonly Told[]) {
      waiting.push(...told);
      wake.resolve();
    },
    end() {
      state.ended = true;
      wake.resolve();
    },
  };
}

function createTwo(cursor = {}) {
  const [a, b] = [createSource(), createSource()];
  const streams = new Map([
    ["b", b.deliveries],
    ["a", a.deliveries],
  ]);
  const merge = new Merge(streams, cursor, () => [a, b].forEach((source) => source.end()));
  return { a, b, merge, read: startReader(merge) };
}

/** Reads in the background: what has come so far, once nothing more comes. */
function startReader(merge: MergedSubscription) {
  const got: string[] = [];
  const ended = (async () => {
    for await (const { stream, record } of merge) got.push(`${stream}${record.offset}@${record.timestamp}`);
  })();
  ended.catch(() => undefined);
  return {
    ended,
    async settled(): Promise<string[]> {
      for (let last = -1; last !== got.length; await new Promise(setImmediate)) last = got.length;
      return got;
    },
  };
}

test("merge - by time, then by the stream's name, then by offset", async (t) => {
  const { a, b, read } = createTwo();
  a.tell({ first: 0, times: [10, 20, 20] }, { first: 3, times: [20, 40] });
  b.tell({ first: 7, times: [5, 20, 30] });
  a.end();
  b.end();
  await read.ended;
  t.deepEqual(await read.settled(), ["b7@5", "a0@10", "a1@20", "a2@20", "a3@20", "b8@20", "b9@30", "a4@40"]);
});

test("merge - a record waits for a stream that may still bring an earlier one", async (t) => {
  const { a, b, merge, read } = createTwo();
  b.tell({ first: 0, times: [10, 20] });
  t.deepEqual(await read.settled(), []);
  // Behind its tail a stream's last record says nothing of the time since; what the vault confirms does.
  a.tell({ first: 0, times: [5] });
  t.deepEqual(await read.settled(), ["a0@5"]);
  a.tell({ first: 1, completeUntil: 10 });
  t.deepEqual(await read.settled(), ["a0@5"], "a record of time 10 in a would come first");
  a.tell({ first: 1, completeUntil: 11 });
  t.deepEqual(await read.settled(), ["a0@5", "b0@10"]);
  t.is(merge.completeUntil, 11);
  a.tell({ first: 1, completeUntil: 21 });
  t.deepEqual(await read.settled(), ["a0@5", "b0@10", "b1@20"]);
});

test("merge - of one time, the stream with the earlier name need not wait for the later one", async (t) => {
  const { a, b, read } = createTwo();
  a.tell({ first: 0, times: [10] });
  b.tell({ first: 0, completeUntil: 10 });
  t.deepEqual(await read.settled(), ["a0@10"]);
});

test("merge - what a vault confirms is nothing to a reader who is not at the tail", async (t) => {
  const { a, b, read } = createTwo();
  b.tell({ first: 0, times: [10] });
  a.tell({ first: 0, tail: 5, completeUntil: 1000 });
  t.deepEqual(await read.settled(), []);
});

test("merge - a stream that is ahead is not asked for more than one delivery", async (t) => {
  const { a, b, read } = createTwo();
  a.tell({ first: 0, times: [1] });
  for (let i = 0; i < 10; i++) b.tell({ first: i, times: [100 + i] });
  await read.settled();
  t.is(b.pulls, 1);
  a.tell({ first: 1, completeUntil: 103 });
  t.is((await read.settled()).length, 4);
  t.is(b.pulls, 4);
});

test("merge - the cursor is where each stream goes on behind what was yielded", async (t) => {
  const { a, b, merge, read } = createTwo({ a: 3n, c: 1n });
  a.tell({ first: 3, times: [10, 30] });
  b.tell({ first: 0, times: [20], tail: 9 });
  await read.settled();
  t.deepEqual(merge.cursor, { a: 4n, b: 1n, c: 1n });
  // A heartbeat's next offset counts too: a filter may have passed over much.
  b.tell({ first: 50, completeUntil: 31 });
  await read.settled();
  t.deepEqual(merge.cursor, { a: 5n, b: 50n, c: 1n });
});

test("merge - what one stream fails with ends the others", async (t) => {
  const a = createSource();
  let returned = false;
  async function* endless(): AsyncGenerator<Delivery, void> {
    try {
      yield deliver({ first: 0, times: [1] });
      await a.deliveries.next();
      throw new Error("gone");
    } finally {
      returned = true;
    }
  }
  const other = createSource();
  const merge = new Merge(
    new Map([
      ["x", endless()],
      ["y", other.deliveries],
    ]),
    {},
    () => other.end(),
  );
  const read = startReader(merge);
  other.tell({ first: 0, times: [0, 2] });
  t.deepEqual(await read.settled(), ["y0@0", "x0@1"]);
  a.tell({ first: 0 });
  await t.throwsAsync(read.ended, { message: "gone" });
  t.true(returned);
});
