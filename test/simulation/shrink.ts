import { simulate } from "./simulate.ts";
import type { RunResult } from "./simulate.ts";
import type { VaultSource } from "./source.ts";

/** How many runs shortening a list of faults may take. */
const runsMax = 60;

/**
 * Leaves out of a failed run's faults what it fails without, by the same check. Resolves to the run with what is left,
 * with the end of its trace.
 */
export async function shrinkFaults(source: VaultSource, failed: RunResult): Promise<RunResult> {
  const check = failed.violations[0]?.check;
  const fails = (result: RunResult) => result.violations.some((violation) => violation.check === check);
  let { faults } = failed;
  let runs = 0;
  let size = Math.ceil(faults.length / 2);
  for (let at = 0; runs < runsMax && faults.length > 0;) {
    const fewer = faults.toSpliced(at, size);
    runs++;
    if (fails(await simulate(source, failed.seed, { faults: fewer }))) {
      faults = fewer;
    } else {
      at += size;
    }
    if (at < faults.length) continue;
    if (size === 1) break;
    at = 0;
    size = Math.ceil(size / 2);
  }
  const shortest = await simulate(source, failed.seed, { faults, traceKeptMax: Infinity });
  return fails(shortest) ? shortest : failed;
}
