/** `npm run bench`: measures, and prints figures. Progress goes to the standard error. */
import { bars } from "./bars.ts";
import { baselineFile, readBaseline, saveBaseline } from "./baseline.ts";
import { compareWithBaseline, formatComparison } from "./compare.ts";
import { groups } from "./groups.ts";
import { checkMemory, formatMemory, measureMemory } from "./memory.ts";
import { parseOptions, usage } from "./options.ts";
import type { BenchOptions } from "./options.ts";
import { writePlots } from "./plots.ts";
import { formatReport, reportRun } from "./report.ts";
import { runGroups } from "./run-rounds.ts";
import { selectGroups } from "./selection.ts";
import { chooseSettings } from "./settings.ts";
import { checkStartup, formatStartup, measureStartup } from "./startup.ts";

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

interface Outcome {
  readonly json: object;
  readonly text: string;
  readonly problem?: string | undefined;
}

async function run(options: BenchOptions, args: readonly string[]): Promise<Outcome> {
  switch (options.command) {
    case "bench":
      return runBench(options, args);
    case "memory": {
      const report = await measureMemory(options, say);
      return { json: report, text: formatMemory(report), problem: checkMemory(report) };
    }
    case "startup": {
      const report = await measureStartup(options, say);
      return { json: report, text: formatStartup(report), problem: checkStartup(report) };
    }
  }
}

async function runBench(options: BenchOptions, args: readonly string[]): Promise<Outcome> {
  const settings = chooseSettings(options);
  const selected = selectGroups(groups, bars, options.only, options.full);
  const result = await runGroups(selected, { ...options, settings }, say);
  const report = reportRun(result, settings, args);
  const baseline = await readBaseline(baselineFile);
  const comparison = baseline && compareWithBaseline(report, baseline);
  // What is stored is shown as a whole, though it may come of several runs.
  const plotted = options.saveBaseline ? await saveBaseline(baselineFile, report) : report;
  const plots = await writePlots(plotted, options.plots);
  say(`${options.plots}: ${plots.join(", ")}`);
  const missed = Object.entries(report.limits).filter(([, { met }]) => !met);
  const problem = missed.length === 0 ? undefined : `missed: ${missed.map(([name]) => name).join(", ")}`;
  const text = [formatReport(report), ...(comparison === undefined ? [] : [formatComparison(comparison)])].join("\n");
  return { json: { ...report, comparison }, text, problem };
}

// The processes that this one started get the same signal and end; what waits for them then fails and cleans up.
process.on("SIGINT", () => say("stopping"));
process.on("SIGTERM", () => say("stopping"));

try {
  const args = process.argv.slice(2);
  const options = parseOptions(args);
  if (options === "help") {
    process.stdout.write(usage);
  } else {
    const { json, text, problem } = await run(options, args);
    process.stdout.write(options.json ? `${JSON.stringify(json)}\n` : text);
    if (options.check && problem !== undefined) throw new Error(problem);
  }
} catch (error) {
  say(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}
