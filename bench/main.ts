/** `npm run bench`: measures, and prints figures. Progress goes to the standard error. */
import { checkMemory, formatMemory, measureMemory } from "./memory.ts";
import { parseOptions, usage } from "./options.ts";
import type { BenchOptions } from "./options.ts";
import { formatReport, reportThroughput } from "./report.ts";
import { checkStartup, formatStartup, measureStartup } from "./startup.ts";
import { measureThroughput } from "./throughput.ts";

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

async function run(options: BenchOptions): Promise<{ json: object; text: string; problem?: string | undefined }> {
  switch (options.command) {
    case "throughput": {
      const report = reportThroughput(await measureThroughput(options, say));
      return { json: report, text: formatReport(report) };
    }
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

// The processes that this one started get the same signal and end; what waits for them then fails and cleans up.
process.on("SIGINT", () => say("stopping"));
process.on("SIGTERM", () => say("stopping"));

try {
  const options = parseOptions(process.argv.slice(2));
  if (options === "help") {
    process.stdout.write(usage);
  } else {
    const { json, text, problem } = await run(options);
    process.stdout.write(options.json ? `${JSON.stringify(json)}\n` : text);
    if (options.check && problem !== undefined) throw new Error(problem);
  }
} catch (error) {
  say(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}
