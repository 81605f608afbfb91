/**
 * `npm run test:full`: what takes longer than `npm test` may, or needs more than npm. A step installs what it needs, and
 * says so. Steps run one after the other; add yours to the list.
 */
import { provideProgram } from "./debian-package.ts";
import { findGo, provideOtlpReceiver, providePython } from "./interop-parts.ts";
import { runSteps } from "./run-steps.ts";
import type { Step } from "./run-steps.ts";

const steps: readonly Step[] = [
  { name: "what the tests of telemetry need: Prometheus, an OTLP receiver, Python", run: provideParts },
  {
    name: "long variants of the tests (test/**/*.long.test.ts)",
    run: ["ava", ...process.argv.slice(2)],
    env: { MESSAGE_VAULT_LONG: "1" },
  },
  {
    name: "examples in all languages, each publisher with each subscriber (npm run test:interop)",
    run: ["node", "scripts/test-interop.ts", ...process.argv.slice(2)],
  },
  { name: "models of the protocols (npm run model)", run: ["node", "scripts/model.ts"] },
];

/** Beforehand, so that no test's time goes by while something is built. Each part has a limit of its own. */
async function provideParts(): Promise<void> {
  await provideProgram("prometheus", "prometheus");
  if ((await findGo()) === undefined) {
    console.log("… no Go here, so no OTLP receiver: the tests of traces through real parts are left out");
    return;
  }
  await Promise.all([provideOtlpReceiver(), providePython()]);
}

process.exitCode = (await runSteps(steps, 1, true)) ? 0 : 1;
