import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { Baseline } from "./compare.ts";
import type { BenchReport } from "./report.ts";

/** The report that others are compared with. */
export const baselineFile = fileURLToPath(new URL("baseline.json", import.meta.url));

/** Reads a stored report; undefined where there is none. */
export async function readBaseline(file: string): Promise<Baseline | undefined> {
  try {
    return JSON.parse(await readFile(file, "utf8")) as Baseline;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** Stores a report, in place of what its measurements had there; those that it does not have stay. Gives the whole. */
export async function saveBaseline(file: string, report: BenchReport): Promise<Baseline> {
  const before = await readBaseline(file);
  const { settings, machine, date, command } = report;
  const baseline: Baseline = {
    ratios: { ...before?.ratios, ...report.ratios },
    limits: { ...before?.limits, ...report.limits },
    figures: { ...before?.figures, ...report.figures },
    series: { ...before?.series, ...report.series },
    settings,
    machine,
    date,
    command,
  };
  await writeFile(file, `${JSON.stringify(baseline, undefined, 2)}\n`);
  return baseline;
}
