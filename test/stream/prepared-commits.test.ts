import test from "ava";
import type { ExecutionContext } from "ava";
import { createRandom } from "../support/create-clock.ts";
import { createEngine } from "../support/create-engine.ts";
import type { Fault } from "../support/create-faulty-store.ts";
import { drive } from "../support/drive.ts";
import { publish } from "../support/publish-records.ts";
import { readRecords, readValues } from "../support/read-records.ts";
import { assertKept, publishTogether } from "../support/run-workload.ts";
import {
  chooseFaults,
  createHeldCall,
  endFaults,
  loseAnswer,
  loseRequest,
  refuse,
  script,
  succeed,
  throttle,
} from "../support/storage-faults.ts";

const KiB = 1024;

/** Two batches of this size do not go into one commit together with a third. */
const settings = { commitBytesMax: 32 * KiB };
const values = ["b", "c", "d", "e"].map((letter) => letter.repeat(10 * KiB));

/** A stream with one record, whose next write is held, and four batches behind it: the first two make a commit. */
async function publishBehindHeld(t: ExecutionContext, fault: Fault = succeed) {
  const engine = createEngine(t, { settings });
  const { vault } = engine.open();
  await publish(vault, "s", ["a"]);
  const held = createHeldCall();
  script(engine.faulty, "writePages", [(forward, args) => held.fault(() => fault(forward, args), args)]);
  const first = publish(vault, "s", ["first"]);
  while (!held.waiting) await engine.clock.turn();
  const behind = values.map((value, i) => publish(vault, "s", [value], { producer: { id: `p${i}`, sequence: 1n } }));
  // The next commit is built by now.
  await engine.clock.turn();
  await engine.clock.turn();
  return { engine, vault, held, first, behind };
}

test("prepared commits - the next one is built while the last is in flight, once more is queued than it takes", async (t) => {
  for (const heldMs of [200, 300]) {
    const { engine, vault, held, first, behind } = await publishBehindHeld(t);
    const builtAt = engine.clock.now();
    await engine.clock.advance(heldMs);
    held.release();
    const results = await drive(engine.clock, Promise.all([first, ...behind]));
    t.deepEqual(
      results.map(({ firstOffset }) => firstOffset),
      [1n, 2n, 3n, 4n, 5n],
    );
    // A timestamp that is older than that could come behind a time that readers take to be over.
    const isUsed = heldMs <= 250;
    t.is(results[1]!.timestamp <= builtAt, isUsed, `held for ${heldMs} ms`);
    t.true(results.at(-1)!.timestamp >= builtAt + heldMs);
    t.deepEqual(await readValues(vault, "s"), ["a", "first", ...values]);
  }
});

test("prepared commits - one whose predecessor failed is thrown away, and its publishes are stored once", async (t) => {
  for (const fault of [loseAnswer, loseRequest]) {
    const { engine, held, first, behind } = await publishBehindHeld(t, fault);
    held.release();
    const results = await drive(engine.clock, Promise.all([first, ...behind]));
    t.deepEqual(
      results.map(({ firstOffset, duplicate }) => [firstOffset, duplicate]),
      [1n, 2n, 3n, 4n, 5n].map((offset) => [offset, false]),
    );
    t.deepEqual(await readValues(engine.open().vault, "s"), ["a", "first", ...values]);
  }
});

test("prepared commits - what is resent behind it is told as what it is", async (t) => {
  const { engine, vault, held, first, behind } = await publishBehindHeld(t);
  const again = publish(vault, "s", [values[0]!], { producer: { id: "p0", sequence: 1n } });
  const others = publish(vault, "s", ["x"], { producer: { id: "p1", sequence: 3n } });
  const refused = t.throwsAsync(others, { message: /does not follow 1/ });
  held.release();
  await drive(engine.clock, Promise.all([first, ...behind, again, refused]));
  t.like(await again, { firstOffset: 2n, duplicate: true });
});

for (const seed of [1, 2, 3, 4]) {
  test(`prepared commits - with storage failing at random nothing is lost and nothing doubled (seed ${seed})`, async (t) => {
    const engine = createEngine(t, { seed, settings, defaults: { segmentBytes: 128 * KiB } });
    const { vault } = engine.open();
    const random = createRandom(seed);
    const faults = [loseAnswer, loseRequest, throttle, refuse, succeed, succeed, succeed, succeed];
    chooseFaults(engine.faulty, (_, call) =>
      call === "writePages" ? faults[Math.floor(random() * faults.length)]! : succeed,
    );
    const attempts = await publishTogether(engine, vault, "s", { count: 40, valueBytes: 3000 });
    endFaults(engine.faulty);
    await assertKept(t, engine, "s", attempts, `seed ${seed}`);
    t.true((await readRecords(vault, "s")).length > 0);
  });
}
