import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { azuriteConnectionString } from "../src/blob/azurite.ts";

/** An emulator of Azure in a process of its own, with its data in memory. */
export interface AzuriteProcess extends AsyncDisposable {
  readonly connectionString: string;
  readonly version: string;
}

/** Starts Azurite on a free port. Rejects where it ends before it listens. */
export async function startAzurite(): Promise<AzuriteProcess> {
  const require = createRequire(import.meta.url);
  const main = require.resolve("azurite/dist/src/blob/main.js");
  const { version } = require("azurite/package.json") as { version: string };
  // The SDK sends a newer API version than Azurite knows.
  const flags = ["--blobPort", "0", "--silent", "--disableTelemetry", "--skipApiVersionCheck", "--inMemoryPersistence"];
  const child = spawn(process.execPath, [main, ...flags], { stdio: ["ignore", "pipe", "inherit"] });
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  let output = "";
  const listening = new Promise<string>((resolve) => {
    child.stdout.on("data", (chunk: Buffer) => {
      if (output.length < 10_000) output += chunk.toString();
      const endpoint = /successfully listens on (http:\S+)/.exec(output)?.[1];
      if (endpoint !== undefined) resolve(endpoint);
    });
  });
  const endpoint = await Promise.race([listening, exited]);
  if (endpoint === undefined) throw new Error(`azurite ended before it listened: ${output}`);
  return {
    connectionString: azuriteConnectionString(endpoint),
    version,
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await exited;
    },
  };
}
