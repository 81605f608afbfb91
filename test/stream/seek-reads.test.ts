import test from "ava";
import type { ExecutionContext } from "ava";
import { chooseProbe, SegmentTimes } from "../../src/stream/segment-times.ts";
import { OffsetIndex } from "../../src/segment/offset-index.ts";
import { listedSegment } from "../../src/stream/segment-list.ts";
import { someRecords } from "../support/build-commit.ts";
import { createEngine } from "../support/create-engine.ts";
import { publish } from "../support/publish-records.ts";
import { createRandom } from "../support/create-clock.ts";
import { readRecords } from "../support/read-records.ts";

const MiB = 1024 * 1024;
const count = 240;

/** A stream of 240 records in 60 segments at a rate that falls to a half, opened anew. `seek` tells what it read. */
async function createLongStream(t: ExecutionContext) {
  const { open, clock, faulty } = createEngine(t, {
    tailBytes: 1,
    blockBytes: 128 * 1024,
    readCacheBytes: 1,
    settings: { frameBytes: 256 * 1024 },
    defaults: { segmentBytes: MiB },
  });
  const { vault } = open();
  const times: number[] = [];
  for (let i = 0; i < count; i++) {
    await clock.advance(100 + Math.round((100 * i) / count));
    times.push((await publish(vault, "s", someRecords(1, 250_000, i))).timestamp);
  }
  const opened = open().vault;
  await readRecords(opened, "s", { start: { at: "last", count: 1n } });
  let reads = 0;
  for (const call of ["get", "read", "properties", "list"] as const) {
    faulty.set(call, (forward) => {
      reads++;
      return forward();
    });
  }
  const seek = async (start: { at: "offset"; offset: bigint } | { at: "timestamp"; timestamp: number }) => {
    reads = 0;
    const [found] = await readRecords(opened, "s", { start, end: { at: "count", count: 1n } });
    return { offset: found!.offset, reads };
  };
  return { seek, times };
}

test("seeks - one by offset costs an index and a block", async (t) => {
  const { seek } = await createLongStream(t);
  const random = createRandom(1);
  for (let i = 0; i < 100; i++) {
    const offset = BigInt(Math.floor(random() * count));
    const found = await seek({ at: "offset", offset });
    t.is(found.offset, offset);
    t.true(found.reads <= 2, `${found.reads} reads`);
  }
});

test("seeks - one by time finds the first record that is not before it, in few reads", async (t) => {
  const { seek, times } = await createLongStream(t);
  const random = createRandom(2);
  const reads: number[] = [];
  for (let i = 0; i < 100; i++) {
    const timestamp = Math.floor(times[0]! + random() * (times.at(-1)! - times[0]!));
    const found = await seek({ at: "timestamp", timestamp });
    t.is(
      Number(found.offset),
      times.findIndex((time) => time >= timestamp),
    );
    reads.push(found.reads);
  }
  const mean = reads.reduce((sum, n) => sum + n, 0) / reads.length;
  t.true(mean <= 3, `${mean} reads`);
});

test("seeks - the times of segments lead to the first that does not end before a time, whatever the rate", (t) => {
  const random = createRandom(3);
  for (let run = 0; run < 50; run++) {
    const bounds: number[] = [0];
    for (let i = 0; i < 2 * 40; i++) bounds.push(bounds.at(-1)! + Math.floor(random() ** 8 * 1000));
    // What storage says of changes leads the right way, nowhere, or is not there.
    const segments = Array.from({ length: 40 }, (_, i) => ({
      ...listedSegment("p/", BigInt(i)),
      changedAt: [bounds[2 * i + 1]! + 1, 0, undefined][run % 3],
    }));
    const openTime = bounds[80];
    const timestamp = Math.floor(random() * (openTime! + 2));
    const times = new SegmentTimes();
    let search = times.narrow(segments, timestamp, openTime);
    for (let probes = 0; search.low < search.high; probes++) {
      t.true(probes < 12);
      const at = chooseProbe(search, segments, timestamp, probes % 2 === 1);
      t.true(at >= search.low && at < search.high);
      const index = new OffsetIndex();
      index.add({ firstOffset: BigInt(at), timestamp: bounds[2 * at]!, position: 0 });
      times.learn({
        blob: "b",
        firstOffset: BigInt(at),
        index,
        endPosition: 1,
        lastTimestamp: bounds[2 * at + 1]!,
        nextOffset: BigInt(at + 1),
        open: false,
      });
      const next = times.narrow(segments, timestamp, openTime);
      t.true(next.high - next.low < search.high - search.low);
      search = next;
    }
    const expected = segments.findIndex((_, i) => bounds[2 * i + 1]! >= timestamp);
    t.is(search.low, expected < 0 ? 40 : expected);
  }
});
