import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** A vault in a process of its own. */
export interface VaultProcess extends AsyncDisposable {
  /** `host:port`. */
  readonly endpoint: string;
  readonly pid: number;
  /** From its start until it told its address, in milliseconds. */
  readonly startMs: number;
  /** Ends it, by SIGTERM where nothing else is said; resolves when it is gone. */
  stop(signal?: NodeJS.Signals): Promise<void>;
}

/** How to run a vault. */
export interface VaultOptions {
  readonly storage: string;
  /** More arguments of `message-vault serve`. */
  readonly args?: readonly string[];
  /** Variables beside those that are there. */
  readonly environment?: Readonly<Record<string, string>>;
  /** A directory that gets a profile of the processor time when the vault ends. */
  readonly profileDirectory?: string | undefined;
  /** Gets what the vault logs, from `info` up, instead of the standard error. */
  readonly onLog?: (event: LoggedEvent) => void;
}

/** A line of the log. */
export type LoggedEvent = Readonly<Record<string, unknown>>;

/** Starts a vault on a free port. Rejects where it ends before it serves. */
export async function startVault({
  storage,
  args = [],
  environment = {},
  profileDirectory,
  onLog,
}: VaultOptions): Promise<VaultProcess> {
  const cli = fileURLToPath(new URL("../src/cli.ts", import.meta.url));
  const profile = profileDirectory === undefined ? [] : ["--cpu-prof", "--cpu-prof-dir", profileDirectory];
  const given = [
    ...profile,
    cli,
    "serve",
    "--json",
    "--log-level",
    onLog === undefined ? "warn" : "info",
    "--port",
    "0",
    "--storage",
    storage,
    ...args,
  ];
  const startedAt = performance.now();
  const child = spawn(process.execPath, given, {
    stdio: ["ignore", "pipe", onLog === undefined ? "inherit" : "pipe"],
    env: { ...process.env, ...environment },
  });
  if (onLog !== undefined) {
    createInterface(child.stderr!).on("line", (line) => onLog(JSON.parse(line) as LoggedEvent));
  }
  const exited = new Promise<void>((resolve) => child.once("close", () => resolve()));
  const told = new Promise<string>((resolve) => createInterface(child.stdout!).once("line", resolve));
  const line = await Promise.race([told, exited]);
  if (line === undefined) throw new Error(`the vault on ${storage.slice(0, 40)} ended before it served`);
  const startMs = performance.now() - startedAt;
  async function stop(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    child.kill(signal);
    await exited;
  }
  const { address } = JSON.parse(line) as { address: string };
  return { endpoint: address, pid: child.pid ?? 0, startMs, stop, [Symbol.asyncDispose]: () => stop("SIGKILL") };
}
