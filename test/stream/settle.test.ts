import test from "ava";
import { pageBytes } from "../../src/blob/blob-store.ts";
import { VaultError } from "../../src/errors.ts";
import { createRandom } from "../support/create-clock.ts";
import { createEngine } from "../support/create-engine.ts";
import type { Fault } from "../support/create-faulty-store.ts";
import { drive } from "../support/drive.ts";
import { publish } from "../support/publish-records.ts";
import { readRecords, readValues } from "../support/read-records.ts";
import { assertKept, publishAll } from "../support/run-workload.ts";
import {
  chooseFaults,
  createHeldCall,
  createLateCall,
  endFaults,
  loseAnswer,
  loseRequest,
  refuse,
  script,
  succeed,
  throttle,
} from "../support/storage-faults.ts";

test("settling - a commit whose answer was lost is found and acknowledged, not written again", async (t) => {
  const { open, faulty, clock } = createEngine(t);
  const { vault } = open();
  await publish(vault, "s", ["a"]);
  script(faulty, "writePages", [loseAnswer]);
  const before = faulty.calls.get("writePages")!;
  const results = await drive(clock, Promise.all([publish(vault, "s", ["b"]), publish(vault, "s", ["c", "d"])]));
  t.deepEqual(
    results.map((result) => [result.firstOffset, result.duplicate]),
    [
      [1n, false],
      [2n, false],
    ],
  );
  t.is(faulty.calls.get("writePages")! - before, 1);
  t.deepEqual(await readValues(open().vault, "s"), ["a", "b", "c", "d"]);
});

test("settling - a commit that never arrived is written again", async (t) => {
  const { open, faulty, clock } = createEngine(t);
  const { vault } = open();
  await publish(vault, "s", ["a"]);
  script(faulty, "writePages", [loseRequest, loseRequest, loseRequest]);
  t.like(await drive(clock, publish(vault, "s", ["b"])), { firstOffset: 1n });
  t.deepEqual(await readValues(open().vault, "s"), ["a", "b"]);
});

test("settling - a 412 under our own epoch is settled like a lost answer", async (t) => {
  const { open, faulty, clock, memory } = createEngine(t);
  const { vault, engine } = open();
  await publish(vault, "s", ["a"]);
  const [segment] = (await vault.readAccess("s", 0n, 0n)).segments;
  // What an earlier attempt of ours that came late would do: the version is another one.
  const { etag } = (await memory.properties(segment!.blob))!;
  await memory.raiseFence(segment!.blob, etag, engine.leadership.fence());
  t.like(await drive(clock, publish(vault, "s", ["b"])), { firstOffset: 1n });
  t.is(faulty.calls.get("raiseFence"), 1);
  t.deepEqual(await readValues(open().vault, "s"), ["a", "b"]);
});

test("settling - an attempt that arrives after newer writes changes nothing", async (t) => {
  const { open, faulty, clock } = createEngine(t);
  const { vault } = open();
  await publish(vault, "s", ["a"]);
  const late = createLateCall();
  script(faulty, "writePages", [late.fault]);
  await drive(clock, publish(vault, "s", ["b"]));
  await publish(vault, "s", ["c"]);
  t.like(await t.throwsAsync(late.arrive()), { kind: "conflict" });
  await publish(vault, "s", ["d"]);
  t.deepEqual(await readValues(open().vault, "s"), ["a", "b", "c", "d"]);
});

for (const seed of [1, 2, 3, 4, 5, 6]) {
  test(`settling - attempts that arrive at any later time change nothing (seed ${seed})`, async (t) => {
    const engine = createEngine(t, { seed, defaults: { segmentBytes: 64 * 1024 } });
    const random = createRandom(seed);
    const late: (() => Promise<unknown>)[] = [];
    const delay: Fault = async (forward) => {
      late.push(forward);
      throw new VaultError("indeterminate", "the request timed out");
    };
    const withLate: Fault = async (forward) => {
      if (random() < 0.5)
        await late
          .splice(Math.floor(random() * late.length), 1)[0]?.()
          .catch(() => undefined);
      return forward();
    };
    const changes = new Set(["createPages", "writePages", "clearPages", "raiseFence"]);
    chooseFaults(engine.faulty, (_, call) => (changes.has(call) && random() < 0.3 ? delay : withLate));
    const attempts = await publishAll(engine, engine.open().vault, "s", { count: 25, valueBytes: 3000 });
    t.true(late.length > 0 || attempts.length > 0);
    endFaults(engine.faulty);
    for (const forward of late) await forward().catch(() => undefined);
    await assertKept(t, engine, "s", attempts, `seed ${seed}`);
  });
}

test("settling - of a commit that was torn what arrived is acknowledged and the rest is written again", async (t) => {
  const { open, faulty, clock, memory } = createEngine(t, { settings: { frameBytes: 4096 } });
  const { vault } = open();
  await publish(vault, "s", ["a"]);
  const [segment] = (await vault.readAccess("s", 0n, 0n)).segments;
  script(faulty, "writePages", [
    async (_forward, args) => {
      const [name, position, bytes] = args as [string, number, Uint8Array];
      memory.damage(name, position, bytes.subarray(0, 2 * pageBytes));
      throw new VaultError("indeterminate", "the connection broke");
    },
  ]);
  const values = ["b", "c", "d"].map((letter) => letter.repeat(5000));
  const results = await drive(clock, Promise.all(values.map((value) => publish(vault, "s", [value]))));
  t.deepEqual(
    results.map((result) => result.firstOffset),
    [1n, 2n, 3n],
  );
  t.true(results[2]!.firstOffset > results[0]!.firstOffset);
  t.deepEqual(await readValues(open().vault, "s"), ["a", ...values]);
  t.is(segment!.firstOffset, 0n);
});

test("settling - a refusal and a duplicate are judged again when the commit that they were judged against fails", async (t) => {
  const { open, faulty, clock } = createEngine(t, { settings: { settleMs: 1000 } });
  const { vault } = open();
  const producer = { id: "p", sequence: 1n };
  await publish(vault, "s", ["a"]);
  // The first write never arrives; before the next one somebody else's batch stands in the queue first.
  script(faulty, "writePages", [loseRequest]);
  const results = await drive(
    clock,
    Promise.allSettled([
      publish(vault, "s", ["b"], { producer }),
      publish(vault, "s", ["b"], { producer }),
      publish(vault, "s", ["x"], { expectedOffset: 1n }),
    ]),
  );
  t.like(results[0], { status: "fulfilled", value: { firstOffset: 1n, duplicate: false } });
  t.like(results[1], { status: "fulfilled", value: { firstOffset: 1n, duplicate: true } });
  t.like(results[2], { status: "rejected", reason: { kind: "conflict" } });
  t.deepEqual(await readValues(open().vault, "s"), ["a", "b"]);
});

test("settling - a duplicate of a batch that failed for good is not answered as one", async (t) => {
  const { open, faulty, clock } = createEngine(t, { settings: { settleMs: 1000 } });
  const { vault } = open();
  const producer = { id: "p", sequence: 1n };
  await publish(vault, "s", ["a"]);
  faulty.set("writePages", throttle);
  const failed = await drive(
    clock,
    Promise.allSettled([publish(vault, "s", ["b"], { producer }), publish(vault, "s", ["b"], { producer })]),
  );
  for (const result of failed) t.like(result, { status: "rejected", reason: { kind: "unavailable" } });
  faulty.set("writePages", undefined);
  t.like(await publish(vault, "s", ["b"], { producer }), { firstOffset: 1n, duplicate: false });
  t.deepEqual(await readValues(open().vault, "s"), ["a", "b"]);
});

test("throttling - the same bytes are sent again, with growing pauses, until they are stored", async (t) => {
  const { open, faulty, clock } = createEngine(t);
  const { vault } = open();
  await publish(vault, "s", ["a"]);
  script(faulty, "writePages", [throttle, throttle, refuse, throttle, throttle]);
  const from = clock.monotonic();
  t.like(await drive(clock, publish(vault, "s", ["b"])), { firstOffset: 1n });
  const tookMs = clock.monotonic() - from;
  t.true(tookMs > 500 && tookMs < 5000, `${tookMs} ms`);
  t.is(faulty.calls.get("raiseFence"), undefined);
  t.deepEqual(await readValues(open().vault, "s"), ["a", "b"]);
});

for (const [what, fault] of [
  ["throttles", throttle],
  ["is not reached", refuse],
] as const) {
  test(`stream - while storage ${what} for long, publishes fail as not stored, and later ones succeed`, async (t) => {
    const { open, faulty, clock } = createEngine(t, { settings: { settleMs: 60_000 } });
    const { vault } = open();
    await publish(vault, "s", ["a"]);
    chooseFaults(faulty, () => fault);
    const from = clock.monotonic();
    const error = await drive(clock, t.throwsAsync(publish(vault, "s", ["lost"])));
    t.like(error, { kind: "unavailable" });
    t.true(clock.monotonic() - from >= 60_000);
    endFaults(faulty);
    t.like(await drive(clock, publish(vault, "s", ["b"])), { firstOffset: 1n });
    t.deepEqual(await readValues(open().vault, "s"), ["a", "b"]);
  });
}

test("stream - what queues while storage hangs goes out when it is back", async (t) => {
  const { open, faulty, clock } = createEngine(t);
  const { vault } = open();
  await publish(vault, "s", ["a"]);
  const held = createHeldCall();
  faulty.set("writePages", held.fault);
  const publishes = Array.from({ length: 50 }, (_, i) => publish(vault, "s", [`${i}`]));
  await clock.advance(60_000);
  held.release();
  t.is((await Promise.all(publishes)).at(-1)!.nextOffset, 51n);
  t.is((await readRecords(open().vault, "s")).length, 51);
});

test("opening - while storage throttles a publish to a closed stream is not stored", async (t) => {
  const { open, faulty } = createEngine(t);
  await publish(open().vault, "s", ["a"]);
  for (const call of ["get", "list", "properties", "raiseFence", "read"] as const) {
    for (const fault of call === "raiseFence" ? [throttle, refuse, loseRequest] : [throttle, refuse]) {
      const { vault } = open();
      faulty.set(call, fault);
      const error = (await t.throwsAsync(publish(vault, "s", ["lost"]))) as VaultError;
      t.true(["unavailable", "overloaded"].includes(error.kind), `${call}: ${error.kind}`);
      faulty.set(call, succeed);
    }
  }
  t.deepEqual(await readValues(open().vault, "s"), ["a"]);
});

test("settling - writes that never succeed are sent again with growing pauses, and fail in the end", async (t) => {
  const { open, faulty, clock } = createEngine(t, { settings: { settleMs: 30_000 } });
  const { vault } = open();
  await publish(vault, "s", ["a"]);
  faulty.set("writePages", loseRequest);
  const before = faulty.calls.get("writePages")!;
  t.like(await drive(clock, t.throwsAsync(publish(vault, "s", ["x"]))), { kind: "unavailable" });
  const writes = faulty.calls.get("writePages")! - before;
  t.true(writes > 5 && writes < 50, `${writes} writes`);
  faulty.set("writePages", undefined);
  t.like(await drive(clock, publish(vault, "s", ["b"])), { firstOffset: 1n });
});
