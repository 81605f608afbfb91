import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import type { Scope } from "./create-scope.ts";

/** A command in a process of its own. */
export interface CliProcess {
  readonly child: ChildProcess;
  /** Resolves to the exit code, or the signal's name where that ended it. */
  readonly exited: Promise<number | string | null>;
  stdout(): string;
  stderr(): string;
}

/** Runs the command line in a process of its own, which is gone when `t` ends. */
export function startCliProcess(t: Pick<Scope, "teardown">, args: readonly string[]): CliProcess {
  const child = spawn(process.execPath, ["src/cli.ts", ...args], { stdio: ["ignore", "pipe", "pipe"] });
  const exited = new Promise<number | string | null>((resolve) => {
    child.once("close", (code, signal) => resolve(code ?? signal));
  });
  t.teardown(async () => {
    child.kill("SIGKILL");
    await exited;
  });
  const printed = { stdout: "", stderr: "" };
  child.stdout.on("data", (text: Buffer) => (printed.stdout += text.toString()));
  child.stderr.on("data", (text: Buffer) => (printed.stderr += text.toString()));
  return { child, exited, stdout: () => printed.stdout, stderr: () => printed.stderr };
}
