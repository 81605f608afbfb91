/**
 * `npm run model`: searches all states of the models in docs/model with Spin, and checks that each is found wrong with
 * a step left out. `--full`: the larger sizes too. `--only TEXT`: runs whose name has TEXT. `--trace`: tells the steps
 * to each violation.
 */
import { parseArgs } from "node:util";
import { type ModelRun, modelRuns } from "./model-runs.ts";
import { provideSpin, search, type SearchResult } from "./spin.ts";

const { values: options } = parseArgs({
  options: {
    full: { type: "boolean", default: false },
    only: { type: "string", default: "" },
    trace: { type: "boolean", default: false },
  },
});

function nameOf({ model, defines }: ModelRun): string {
  return `${model} ${defines.join(" ")}`;
}

/** Whether the run ended as it must; prints a line, and the story where it did not or is asked for. */
async function check(spin: string, run: ModelRun): Promise<boolean> {
  try {
    const result = await search(spin, `docs/model/${run.model}.pml`, run.defines);
    const ok = (result.violation === undefined) === (run.expect === "right");
    console.log(`${ok ? "✔" : "✘"} ${nameOf(run)}: ${describe(run, result)}`);
    if (!ok || options.trace) for (const line of result.story) console.log(`    ${line}`);
    return ok;
  } catch (error) {
    console.log(`✘ ${nameOf(run)}: ${error instanceof Error ? error.message : String(error)}`);
    return false;
  }
}

function describe({ expect }: ModelRun, { violation, states, memoryMb, seconds }: SearchResult): string {
  const size = `${states.toLocaleString("en")} states, ${memoryMb} MB, ${seconds.toFixed(1)} s`;
  if (violation === undefined) return `${expect === "right" ? "right" : `NOT FOUND (${expect})`}, ${size}`;
  return expect === "right" ? `WRONG: ${violation}, ${size}` : `${expect}, as it must be, ${size}`;
}

const runs = modelRuns.filter((run) => (options.full || !run.long) && nameOf(run).includes(options.only));
if (runs.length === 0) throw new Error(`no search has "${options.only}" in its name`);
const spin = await provideSpin();
let failed = 0;
for (const run of runs) {
  if (!(await check(spin, run))) failed++;
}
console.log(failed === 0 ? `all ${runs.length} searches ended as they must` : `${failed} of ${runs.length} failed`);
process.exitCode = failed === 0 ? 0 : 1;
