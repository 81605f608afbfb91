import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { createInterface } from "node:readline";
import type { Scope } from "./create-scope.ts";

/** A vault in a process of its own. */
export interface VaultProcess {
  /** `host:port`. */
  readonly endpoint: string;
  /** `host:port` of its HTTP port; undefined where it was not asked for one. */
  readonly http: string | undefined;
  readonly child: ChildProcess;
  /** What it logged: the last million characters. */
  log(): string;
  /** Sends a signal; resolves to the exit code, or the signal's name where that ended it, once the process is gone. */
  kill(signal: NodeJS.Signals): Promise<number | string | null>;
}

/**
 * Runs `message-vault serve` on a free port, with more arguments, until it is killed or `t` ends. `environment` is set
 * beside what is there.
 */
export async function startVaultProcess(
  t: Pick<Scope, "teardown">,
  args: readonly string[] = [],
  environment: Readonly<Record<string, string>> = {},
): Promise<VaultProcess> {
  const given = ["src/cli.ts", "serve", "--json", "--port", "0", ...args];
  const child = spawn(process.execPath, given, {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...environment },
  });
  const exited = new Promise<number | string | null>((resolve) => {
    child.once("exit", (code, signal) => resolve(code ?? signal));
  });
  t.teardown(async () => {
    child.kill("SIGKILL");
    await exited;
  });
  let errors = "";
  child.stderr.on("data", (text: Buffer) => (errors = (errors + text.toString()).slice(-1_000_000)));
  const line = await Promise.race([
    new Promise<string>((resolve) => createInterface(child.stdout).once("line", resolve)),
    exited.then((code) => Promise.reject(new Error(`the vault ended with ${code}: ${errors}`))),
  ]);
  const { address, http } = JSON.parse(line) as { address: string; http?: string };
  return {
    endpoint: address,
    http,
    child,
    log: () => errors,
    kill(signal) {
      child.kill(signal);
      return exited;
    },
  };
}
