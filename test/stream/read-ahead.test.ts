import test from "ava";
import type { ExecutionContext } from "ava";
import { someRecords } from "../support/build-commit.ts";
import { createEngine } from "../support/create-engine.ts";
import { publish } from "../support/publish-records.ts";
import { readRecords } from "../support/read-records.ts";

/** A stream of 50 records in three segments, opened anew: its open segment was looked at, nothing else of it. */
async function createStoredStream(t: ExecutionContext) {
  const { open, faulty } = createEngine(t, {
    tailBytes: 1,
    blockBytes: 64 * 1024,
    settings: { frameBytes: 32 * 1024, responseBytes: 32 * 1024 },
    defaults: { segmentBytes: 512 * 1024 },
  });
  const { vault } = open();
  for (let i = 0; i < 50; i++) await publish(vault, "s", someRecords(1, 30_000, i));
  const opened = open().vault;
  await opened.getStream("s");
  const reads: string[] = [];
  for (const call of ["get", "read"] as const) {
    faulty.set(call, (forward, [name]) => {
      reads.push(`${call} ${String(name).split(".").at(-1)}`);
      return forward();
    });
  }
  return { vault: opened, reads };
}

test("reading ahead - one record of a sealed segment takes its block, and nothing behind it", async (t) => {
  const { vault, reads } = await createStoredStream(t);
  const records = await readRecords(vault, "s", {
    start: { at: "offset", offset: 23n },
    end: { at: "count", count: 1n },
  });
  t.deepEqual(
    records.map(({ offset }) => offset),
    [23n],
  );
  t.deepEqual(reads, ["read segment"]);
});

test("reading ahead - who reads on has the next block asked for", async (t) => {
  const { vault, reads } = await createStoredStream(t);
  const records = await readRecords(vault, "s", {
    start: { at: "offset", offset: 23n },
    end: { at: "count", count: 3n },
  });
  t.is(records.length, 3);
  // They lie in one block, and come in three responses: with the second one the next block is asked for.
  t.deepEqual(reads, ["read segment", "read segment"]);
});
