/** A worker's process: runs the seeds that it is sent, one at a time, and answers each with how it went. */
import { watchCompositeSignals } from "./composite-signals.ts";
import { describeResult, simulate } from "./simulate.ts";
import type { RunResult, RunStats } from "./simulate.ts";
import { shrinkFaults } from "./shrink.ts";
import { loadSource } from "./source.ts";

/** What a worker is sent. */
export interface SeedRequest {
  readonly seed: number;
  /** Whether to shorten what fails, and tell all about it. */
  readonly explain: boolean;
}

/** What a worker answers. */
export interface SeedAnswer {
  readonly seed: number;
  /** The checks that found something, each once; none is the good answer. */
  readonly checks: readonly string[];
  /** The first thing that is wrong, in words. */
  readonly what: string | undefined;
  readonly digest: string;
  readonly stats: RunStats;
  /** Everything about what is wrong, where it was asked for. */
  readonly explanation: string | undefined;
}

const root = process.argv[2]!;
const signals = watchCompositeSignals();
const source = await loadSource(root);

process.on("message", ({ seed, explain }: SeedRequest) => {
  void answer(seed, explain).then((message) => {
    signals.forget();
    process.send!(message);
  });
});
process.on("disconnect", () => process.exit());
process.send!("ready");

// Errors are made all the time, and their stacks are looked at only where a seed fails: it is run again for them.
const stackTraceLimit = Error.stackTraceLimit;

async function run(seed: number): Promise<RunResult> {
  Error.stackTraceLimit = 0;
  const first = await simulate(source, seed).finally(() => (Error.stackTraceLimit = stackTraceLimit));
  if (first.violations.length === 0) return first;
  const again = await simulate(source, seed);
  if (first.digest === again.digest) return again;
  const what = first.violations.map((violation) => `${violation.check}: ${violation.what}`).join("; ");
  const unlike = { check: "same run", what: `the first of two runs was another one: ${what}`, around: [] };
  return { ...again, violations: [unlike, ...again.violations] };
}

async function answer(seed: number, explain: boolean): Promise<SeedAnswer> {
  const result = await run(seed);
  const { violations, digest, stats } = result;
  const first = violations[0];
  const explanation = explain && first !== undefined ? describeResult(await shrinkFaults(source, result)) : undefined;
  return {
    seed,
    checks: [...new Set(violations.map(({ check }) => check))],
    what: first && `${first.check}: ${first.what}`,
    digest,
    stats,
    explanation,
  };
}
