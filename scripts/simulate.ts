/**
 * `npm run simulate -- --seeds N --from S`: hours of a cluster's life under faults for each seed, in less than a second.
 * A seed that fails is shortened to the faults that it takes, and told all about. Ends with 1 where one fails.
 */
import { readFile, writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { checkHistory } from "../test/simulation/checks.ts";
import { decodeHistory, encodeHistory } from "../test/simulation/history.ts";
import { runSeeds } from "../test/simulation/run-pool.ts";
import type { SeedAnswer } from "../test/simulation/run-seeds.ts";
import { simulate } from "../test/simulation/simulate.ts";
import { checkoutRoot, loadSource } from "../test/simulation/source.ts";

const usage = `npm run simulate -- [--seeds N] [--from S] [--workers N] [--keep-going] [--json]

  --seeds N      how many seeds: 300 without it
  --from S       the first one: 1 without it
  --workers N    processes: one a core without it
  --keep-going   go on behind a seed that fails
  --json         print one JSON object

npm run simulate -- --from S --history FILE    runs one seed and writes its history, as JSON lines
npm run simulate -- --check FILE               judges a history instead: docs/correctness.md has the form
`;

interface Plan {
  readonly seeds: number;
  readonly from: number;
  readonly workers: number;
  readonly keepGoing: boolean;
  readonly json: boolean;
  readonly history: string | undefined;
  readonly check: string | undefined;
}

function readPlan(): Plan | undefined {
  const text = { type: "string" } as const;
  const flag = { type: "boolean", default: false } as const;
  const { values } = parseArgs({
    options: {
      seeds: text,
      from: text,
      workers: text,
      history: text,
      check: text,
      "keep-going": flag,
      json: flag,
      help: flag,
    },
  });
  if (values.help) return undefined;
  const read = (name: "seeds" | "from" | "workers", otherwise: number) => {
    const given = values[name] ?? String(otherwise);
    if (!/^\d+$/.test(given)) throw new Error(`--${name}: ${given} is no whole number`);
    return Number(given);
  };
  return {
    seeds: read("seeds", 300),
    from: read("from", 1),
    workers: Math.max(1, read("workers", availableParallelism())),
    keepGoing: values["keep-going"],
    json: values.json,
    history: values.history,
    check: values.check,
  };
}

// Where there is no terminal a line is told each time that so many seeds are done.
const seedsPerLine = 100;

/** Tells how far it is. */
function createProgress(count: number): (done: number, failed: number) => void {
  const startedAt = Date.now();
  const { isTTY } = process.stderr;
  return (done, failed) => {
    if (!isTTY && done % seedsPerLine !== 0) return;
    const perSecond = done / ((Date.now() - startedAt) / 1000);
    const leftSeconds = Math.round((count - done) / perSecond);
    const text = `${done} of ${count} seeds, ${failed} failed, ${leftSeconds} s left`;
    process.stderr.write(isTTY ? `\r${text}  ${done === count ? "\n" : ""}` : `${text}\n`);
  };
}

function summarize(answers: readonly SeedAnswer[]) {
  const failed = answers.filter(({ checks }) => checks.length > 0);
  const sum = (name: keyof SeedAnswer["stats"]) => answers.reduce((total, { stats }) => total + stats[name], 0);
  const least = (name: keyof SeedAnswer["stats"]) => Math.min(...answers.map(({ stats }) => stats[name]));
  return {
    seeds: answers.length,
    failed: failed.length,
    first_failed_seed: failed[0]?.seed,
    operations: sum("operations"),
    acknowledged: sum("acknowledged"),
    delivered: sum("delivered"),
    failovers: sum("failovers"),
    rolls: sum("rolls"),
    virtual_hours: Math.round(sum("virtualMs") / 36_000) / 100,
    least_nodes: least("nodes"),
    least_clients: least("clients"),
    least_operations: least("operations"),
    least_fault_kinds: least("faultKinds"),
    least_failovers: least("failovers"),
    least_rolls: least("rolls"),
  };
}

/** Judges a history that is stored in a file. */
async function judgeFile(path: string): Promise<void> {
  const operations = decodeHistory(await readFile(path, "utf8"));
  const violations = checkHistory(operations);
  for (const { check, what, around } of violations) {
    const lines = around.map((operation) => `    ${JSON.stringify(operation)}\n`);
    process.stdout.write(`${check}: ${what}\n${lines.join("")}`);
  }
  process.stdout.write(`${operations.length} operations, ${violations.length} violations\n`);
  if (violations.length > 0) process.exitCode = 1;
}

async function writeHistory(seed: number, path: string): Promise<void> {
  const { history } = await simulate(await loadSource(checkoutRoot), seed);
  await writeFile(path, encodeHistory(history));
  process.stdout.write(`${history.length} operations of seed ${seed} are in ${path}\n`);
}

async function main(): Promise<void> {
  const plan = readPlan();
  if (plan === undefined) {
    process.stdout.write(usage);
    return;
  }
  if (plan.check !== undefined) return judgeFile(plan.check);
  if (plan.history !== undefined) return writeHistory(plan.from, plan.history);
  await runPlan(plan);
}

async function runPlan(plan: Plan): Promise<void> {
  const progress = createProgress(plan.seeds);
  let done = 0;
  let failed = 0;
  const answers = await runSeeds({
    from: plan.from,
    count: plan.seeds,
    workers: plan.workers,
    explain: true,
    onAnswer({ seed, checks, what, explanation }) {
      done++;
      if (checks.length > 0) {
        failed++;
        const text = plan.keepGoing
          ? (what ?? "")
          : `${explanation}\nagain: npm run simulate -- --seeds 1 --from ${seed}`;
        process.stderr.write(`\nseed ${seed} fails: ${text}\n`);
      }
      progress(done, failed);
      return plan.keepGoing || checks.length === 0;
    },
  });
  const summary = summarize(answers);
  const lines = Object.entries(summary).map(([name, value]) => `${name.padEnd(20)} ${value ?? "-"}\n`);
  process.stdout.write(plan.json ? `${JSON.stringify(summary)}\n` : lines.join(""));
  if (failed > 0) process.exitCode = 1;
}

try {
  await main();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${usage}`);
  process.exitCode = 2;
}
