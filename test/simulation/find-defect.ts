import { createDefectiveCopy } from "./create-defective-copy.ts";
import type { Defect } from "./defects.ts";
import { runSeeds } from "./run-pool.ts";

/** How a defect was found. */
export interface Finding {
  readonly seed: number;
  /** The check that found it first. */
  readonly check: string;
  readonly what: string;
}

/** The most seeds that finding a defect may take. */
export const defectSeedsMax = 2000;

/** Runs seeds on a copy of the code with a defect until one fails; undefined where none does. */
export async function findDefect(
  defect: Defect,
  workers: number,
  seedsMax = defectSeedsMax,
): Promise<Finding | undefined> {
  const copy = await createDefectiveCopy(defect);
  try {
    const onAnswer = ({ checks }: { checks: readonly string[] }) => checks.length === 0;
    const answers = await runSeeds({ from: 1, count: seedsMax, workers, root: copy.root, onAnswer });
    const failed = answers.find(({ checks }) => checks.length > 0);
    return failed && { seed: failed.seed, check: failed.checks[0]!, what: failed.what ?? "" };
  } finally {
    await copy.remove();
  }
}
