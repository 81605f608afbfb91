import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { dirname } from "node:path";
import { openAzureStore } from "../../src/blob/azure.ts";
import { azuriteConnectionString } from "../../src/blob/azurite.ts";
import type { BlobStore } from "../../src/blob/blob-store.ts";
import { systemClock } from "../../src/clock.ts";
import type { Scope } from "./create-scope.ts";

/** An Azurite in a process of its own, with its data in memory. */
export interface AzuriteProcess {
  /** Where it listens: http://127.0.0.1:PORT. */
  readonly endpoint: string;
  /** Stops it where it stands, and lets it go on. */
  freeze(): void;
  thaw(): void;
}

const container = "failover";

// It ends with the process that started it, however that ends. Its collector of what no blob refers to any more is off:
// every ten minutes it lets all requests wait until it is done, which was 3 s after 1,600 writes and ended runs of chaos.
// It does not spare what a write under way has just stored, either (azurite/dist/src/blob/gc/BlobGCManager.js,
// azurite/dist/src/common/persistence/MemoryExtentStore.js).
const bootstrap = `
  process.stdin.resume();
  process.stdin.on("end", () => process.exit());
  require(process.env.AZURITE_BLOB + "/utils/constants").DEFAULT_GC_INTERVAL_MS = 2 ** 31 - 1;
  require(process.env.AZURITE_BLOB + "/main.js");
`;

/** The storage setting of a vault whose Azurite is reached at `endpoint`. */
export function azuriteSetting(endpoint: string): string {
  return `${azuriteConnectionString(endpoint)}Container=${container}`;
}

/** Opens the vault's container, past any proxy, until `scope` ends. */
export async function openAzurite(scope: Scope, endpoint: string): Promise<BlobStore> {
  const target = { connectionString: azuriteConnectionString(endpoint), container };
  const store = await openAzureStore(target, systemClock);
  scope.teardown(() => store.close());
  return store;
}

/** Starts an Azurite that ends with `scope`. */
export async function startAzuriteProcess(scope: Scope): Promise<AzuriteProcess> {
  const flags = ["--blobPort", "0", "--silent", "--disableTelemetry", "--skipApiVersionCheck", "--inMemoryPersistence"];
  const blobServer = dirname(createRequire(import.meta.url).resolve("azurite/dist/src/blob/main.js"));
  const child = spawn(process.execPath, ["--eval", bootstrap, "azurite", ...flags], {
    stdio: ["pipe", "pipe", "inherit"],
    env: { ...process.env, AZURITE_BLOB: blobServer },
  });
  const exited = new Promise<void>((resolve) => void child.once("exit", () => resolve()));
  scope.teardown(() => {
    child.kill("SIGKILL");
    return exited;
  });
  let output = "";
  const endpoint = await new Promise<string>((resolve, reject) => {
    child.once("exit", (code) => reject(new Error(`azurite ended with ${code}: ${output}`)));
    child.stdout.on("data", (text: Buffer) => {
      output = (output + text.toString()).slice(-2000);
      const listening = /successfully listens on (http:\S+)/.exec(output)?.[1];
      if (listening !== undefined) resolve(listening);
    });
  });
  const target = { connectionString: azuriteConnectionString(endpoint), container };
  await (await openAzureStore(target, systemClock, { createContainer: true })).close();
  return { endpoint, freeze: () => void child.kill("SIGSTOP"), thaw: () => void child.kill("SIGCONT") };
}
