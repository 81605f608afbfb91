import test from "ava";
import type { ExecutionContext } from "ava";
import { createRandom } from "../support/create-clock.ts";
import { createEngine } from "../support/create-engine.ts";
import type { Fault } from "../support/create-faulty-store.ts";
import { drive } from "../support/drive.ts";
import { publish } from "../support/publish-records.ts";
import { assertKept, publishAll } from "../support/run-workload.ts";
import {
  chooseFaults,
  endFaults,
  loseAnswer,
  loseRequest,
  refuse,
  succeed,
  throttle,
} from "../support/storage-faults.ts";

const small = { defaults: { segmentBytes: 64 * 1024 } };

/** Counts the calls that storage gets when nothing fails. */
async function countCalls(t: ExecutionContext): Promise<number> {
  const engine = createEngine(t, small);
  let count = 0;
  chooseFaults(engine.faulty, () => {
    count++;
    return succeed;
  });
  await publishAll(engine, engine.open().vault, "s");
  return count;
}

const faults: readonly [string, Fault][] = [
  ["an answer is lost", loseAnswer],
  ["a request is lost", loseRequest],
  ["storage throttles", throttle],
  ["storage refuses", refuse],
];

for (const [what, fault] of faults) {
  test(`stream - where ${what} at any one call, nothing is lost and nothing doubled`, async (t) => {
    const count = await countCalls(t);
    t.true(count > 20, `${count} calls`);
    for (let at = 0; at < count; at++) {
      const engine = createEngine(t, small);
      chooseFaults(engine.faulty, (number) => (number === at ? fault : succeed));
      const attempts = await publishAll(engine, engine.open().vault, "s");
      const lost = attempts.filter((attempt) => typeof attempt.outcome === "string");
      t.true(lost.length <= 1, `call ${at}: ${lost.length} were not stored`);
      endFaults(engine.faulty);
      await assertKept(t, engine, "s", attempts, `${what}, call ${at}`);
    }
  });
}

for (const [what, last] of [
  ["before", loseRequest],
  ["after", loseAnswer],
] as const) {
  test(`stream - where the process ends ${what} any one call, all that was acknowledged is there`, async (t) => {
    const count = await countCalls(t);
    for (let at = 0; at < count; at++) {
      const engine = createEngine(t, small);
      chooseFaults(engine.faulty, (number) => (number < at ? succeed : number === at ? last : loseRequest));
      const node = engine.open({ settings: { settleMs: 100 } });
      const attempts = await publishAll(engine, node.vault, "s");
      node.leadership.depose();
      await assertKept(t, engine, "s", attempts, `ended ${what} call ${at}`);
    }
  });
}

for (const seed of [1, 2, 3, 4, 5, 6, 7, 8]) {
  test(`stream - with storage failing at random nothing is lost and nothing doubled (seed ${seed})`, async (t) => {
    const engine = createEngine(t, { ...small, seed });
    const random = createRandom(seed);
    const attempts = [];
    for (let life = 0; life < 4; life++) {
      const share = random() * 0.4;
      const of = faults.map(([, fault]) => fault);
      chooseFaults(engine.faulty, () => (random() < share ? of[Math.floor(random() * of.length)]! : succeed));
      const node = engine.open({ settings: { settleMs: 5000 } });
      const own = await publishAll(engine, node.vault, "s", { first: life * 10, valueBytes: 3000 });
      attempts.push(...own);
      if (random() < 0.5) await drive(engine.clock, node.vault.close());
      endFaults(engine.faulty);
      node.leadership.depose();
    }
    await assertKept(t, engine, "s", attempts, `seed ${seed}`);
  });
}

for (const seed of [1, 2, 3, 4]) {
  test(`stream - publishes at once while storage fails are each answered truly (seed ${seed})`, async (t) => {
    const engine = createEngine(t, { ...small, seed, settings: { settleMs: 5000, frameBytes: 4096 } });
    const { vault } = engine.open();
    const random = createRandom(seed);
    const of = [loseAnswer, loseRequest, throttle, refuse];
    chooseFaults(engine.faulty, () => (random() < 0.3 ? of[Math.floor(random() * of.length)]! : succeed));
    const attempts = Array.from({ length: 60 }, (_, i) => ({
      values: [`${i}`.padEnd(3000, ".")],
      producer: { id: `p${i % 6}`, sequence: BigInt(Math.floor(i / 6)) },
    }));
    const results = await drive(
      engine.clock,
      Promise.allSettled(attempts.map(({ values, producer }) => publish(vault, "s", values, { producer }))),
    );
    endFaults(engine.faulty);
    const outcomes = attempts.map((attempt, i) => {
      const result = results[i]!;
      if (result.status === "fulfilled") return { ...attempt, outcome: result.value };
      const { kind } = result.reason as { kind: string };
      // Behind a batch that failed, the producer's next ones are refused.
      t.true(["indeterminate", "unavailable", "overloaded", "conflict"].includes(kind), kind);
      return { ...attempt, outcome: kind === "indeterminate" ? ("unknown" as const) : ("notStored" as const) };
    });
    await assertKept(t, engine, "s", outcomes, `seed ${seed}`);
  });
}
