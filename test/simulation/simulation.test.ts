import test from "ava";
import { runSeeds } from "./run-pool.ts";
import type { SeedAnswer } from "./run-seeds.ts";

const least = (answers: readonly SeedAnswer[], name: keyof SeedAnswer["stats"]) =>
  Math.min(...answers.map(({ stats }) => stats[name]));

test("simulation - 300 seeds of faults - every promise is kept, and no run is an empty one", async (t) => {
  t.timeout(8 * 60_000);
  const answers = await runSeeds({
    from: 1,
    count: 300,
    workers: 2,
    explain: true,
    onAnswer: ({ checks }) => checks.length === 0,
  });
  for (const { checks, explanation } of answers) if (checks.length > 0) t.fail(explanation);
  t.is(answers.length, 300);
  t.true(least(answers, "nodes") >= 3);
  t.true(least(answers, "clients") >= 8);
  t.true(least(answers, "operations") >= 500);
  t.true(least(answers, "faultKinds") >= 3);
  t.true(least(answers, "failovers") >= 1);
  t.true(least(answers, "rolls") >= 1);
});
