import { spawn } from "node:child_process";

/** One thing to run: a command, or a function that throws where something is wrong. */
export interface Step {
  readonly name: string;
  readonly run: readonly [command: string, ...args: string[]] | (() => Promise<void>);
  /** Set in the command's environment beside what is there. */
  readonly env?: Readonly<Record<string, string>>;
}

/** How a step ended. */
export interface StepResult {
  readonly name: string;
  readonly ok: boolean;
  readonly output: string;
}

/**
 * Runs steps, `width` at a time, and prints a line for each with its time, and the output of those that failed.
 * With `live` a command's output is shown while it runs. Resolves to whether all went well.
 */
export async function runSteps(steps: readonly Step[], width: number, live = false): Promise<boolean> {
  const waiting = [...steps];
  const results: StepResult[] = [];
  const work = async () => {
    for (let step = waiting.shift(); step !== undefined; step = waiting.shift()) {
      results.push(await runStep(step, live));
    }
  };
  await Promise.all(Array.from({ length: width }, work));
  const failed = results.filter(({ ok }) => !ok).map(({ name }) => name);
  console.log(failed.length === 0 ? `all ${results.length} steps went well` : `failed: ${failed.join(", ")}`);
  return failed.length === 0;
}

async function runStep(step: Step, live: boolean): Promise<StepResult> {
  const { name, run } = step;
  const startedAt = performance.now();
  if (live) console.log(`… ${name}`);
  const outcome = typeof run === "function" ? await runFunction(run) : await runCommand(run, step.env, live);
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  console.log(`${outcome.ok ? "✔" : "✘"} ${name} (${seconds} s)`);
  if (!outcome.ok && !live) console.log(outcome.output.replace(/^/gm, "    "));
  return { name, ...outcome };
}

async function runFunction(run: () => Promise<void>): Promise<{ ok: boolean; output: string }> {
  try {
    await run();
    return { ok: true, output: "" };
  } catch (error) {
    return { ok: false, output: error instanceof Error ? error.message : String(error) };
  }
}

const plain = { NO_COLOR: "1", FORCE_COLOR: "0" };

function runCommand(
  [command, ...args]: readonly [string, ...string[]],
  env: Step["env"],
  live: boolean,
): Promise<{ ok: boolean; output: string }> {
  const stdio = live ? "inherit" : "pipe";
  const child = spawn(command, args, {
    stdio: ["ignore", stdio, stdio],
    env: { ...process.env, ...(live ? {} : plain), ...env },
  });
  let output = "";
  const collect = (chunk: Buffer) => {
    output += chunk.toString();
  };
  child.stdout?.on("data", collect);
  child.stderr?.on("data", collect);
  return new Promise((resolve) => {
    child.once("error", (error) => resolve({ ok: false, output: `${command} cannot be run: ${error.message}` }));
    child.once("close", (code) => resolve({ ok: code === 0, output }));
  });
}
