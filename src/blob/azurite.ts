/**
 * The store on an emulator of Azure that runs as a child process: for trying out only. In memory it forgets all with
 * the process; on disk it saves its metadata every few seconds, so that a kill loses what was acknowledged.
 */
import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import fs from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import type { Clock } from "../clock.ts";
import { VaultError } from "../errors.ts";
import type { Log } from "../log.ts";
import { noTelemetry, type Telemetry } from "../telemetry.ts";
import { openAzureStore } from "./azure.ts";
import type { BlobStore } from "./blob-store.ts";
import { acquireFileLock, type FileLock } from "./file-lock.ts";

/** How long the emulator may take to start, and to end before it is killed, in milliseconds. */
const startTimeoutMs = 60_000;
const stopTimeoutMs = 5_000;

/** The account that every Azurite has, and its key: both are public, from Azurite's README. */
const account = "devstoreaccount1";
const accountKey = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

// The emulator ends with the vault, however that ends: its standard input is then closed. It has a process group of its
// own, so that Ctrl-C reaches the vault alone, which still needs its storage to close.
const bootstrap = `
  process.stdin.resume();
  process.stdin.on("end", () => process.exit());
  require(process.env.AZURITE_MAIN);
`;

/** The connection string of an Azurite that listens on `endpoint` (http://HOST:PORT). */
export function azuriteConnectionString(endpoint: string): string {
  const keys = `AccountName=${account};AccountKey=${accountKey}`;
  return `DefaultEndpointsProtocol=http;${keys};BlobEndpoint=${endpoint}/${account};`;
}

/**
 * Starts an Azurite on a free port and opens `container` on it; closing the store ends it. It keeps its data in
 * `location`, or in memory where that is undefined. Throws `unavailable` where it is not installed or does not start, or
 * another vault runs one on `location`: two on the same files would destroy what they hold.
 */
export async function openAzuriteStore(
  location: string | undefined,
  container: string,
  clock: Clock,
  log: Log,
  telemetry: Telemetry = noTelemetry,
): Promise<BlobStore> {
  if (location === undefined) return openEmulator(undefined, container, clock, log, telemetry);
  const lock = await lockLocation(path.resolve(location));
  try {
    const store = await openEmulator(location, container, clock, log, telemetry);
    return {
      ...store,
      async close() {
        await store.close();
        lock.release();
      },
    };
  } catch (error) {
    lock.release();
    throw error;
  }
}

async function openEmulator(
  location: string | undefined,
  container: string,
  clock: Clock,
  log: Log,
  telemetry: Telemetry,
): Promise<BlobStore> {
  const child = startChild(location);
  try {
    const endpoint = await listening(child, clock);
    log.warn("azurite is an emulator, for trying out only", { endpoint, location: location ?? "memory" });
    const target = { connectionString: azuriteConnectionString(endpoint), container };
    const store = await openAzureStore(target, clock, { createContainer: true }, telemetry);
    return {
      ...store,
      description: `azurite:${location ?? ""} (${endpoint}, for trying out only)`,
      async close() {
        await store.close();
        await stopChild(child, clock);
      },
    };
  } catch (error) {
    await stopChild(child, clock);
    throw error;
  }
}

async function lockLocation(directory: string): Promise<FileLock> {
  try {
    await fs.mkdir(directory, { recursive: true });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new VaultError("unavailable", `cannot use the directory ${directory}: ${reason}`, {}, error);
  }
  return acquireFileLock(path.join(directory, "~lock.db"), directory);
}

function startChild(location: string | undefined): ChildProcess {
  const place = location === undefined ? ["--inMemoryPersistence"] : ["--location", path.resolve(location)];
  // The SDK sends a newer API version than Azurite knows.
  const flags = ["--blobPort", "0", "--silent", "--disableTelemetry", "--skipApiVersionCheck", ...place];
  return spawn(process.execPath, ["--eval", bootstrap, "azurite", ...flags], {
    detached: true,
    stdio: ["pipe", "pipe", "pipe"],
    env: { ...process.env, AZURITE_MAIN: findAzurite() },
  });
}

function findAzurite(): string {
  try {
    return createRequire(import.meta.url).resolve("azurite/dist/src/blob/main.js");
  } catch (error) {
    const message = "azurite: is not installed: run npm install azurite, or choose file:PATH as storage";
    throw new VaultError("unavailable", message, {}, error);
  }
}

/** The address that the child tells when it listens. */
function listening(child: ChildProcess, clock: Clock): Promise<string> {
  return new Promise((resolve, reject) => {
    let output = "";
    function fail(reason: string): void {
      timer.cancel();
      reject(new VaultError("unavailable", `azurite does not start: ${reason} ${output.slice(-500)}`.trim()));
    }
    const timer = clock.timer(startTimeoutMs, () => fail(`nothing after ${startTimeoutMs} ms.`));
    function read(chunk: Buffer): void {
      // Only the beginning matters; the rest is read so that the child never waits for a reader.
      if (output.length < 10_000) output += chunk.toString();
      const endpoint = /successfully listens on (http:\S+)/.exec(output)?.[1];
      if (endpoint === undefined) return;
      timer.cancel();
      resolve(endpoint);
    }
    child.stdout?.on("data", read);
    child.stderr?.on("data", read);
    child.once("error", (error) => fail(error.message));
    child.once("exit", (code, signal) => fail(`it ended with ${code ?? signal}.`));
  });
}

function stopChild(child: ChildProcess, clock: Clock): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return Promise.resolve();
  return new Promise((resolve) => {
    const timer = clock.timer(stopTimeoutMs, () => child.kill("SIGKILL"));
    child.once("exit", () => {
      timer.cancel();
      resolve();
    });
    child.kill("SIGTERM");
  });
}
