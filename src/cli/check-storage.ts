import { Command } from "commander";
import { createLog } from "../create-log.ts";
import { toJsonFields, toJsonLine } from "./describe.ts";
import { reportFailure } from "./failure.ts";
import { exitCodes, openOutput, say } from "./io.ts";
import type { CliIo } from "./io.ts";

const examples = `
What the vault relies on is tried: conditional writes, leases, sizes, ranged reads, listing. All of it happens below
check-storage/ in the container, and is removed again.

Examples:
  $ message-vault check-storage https://ACCOUNT.blob.core.windows.net/CONTAINER
  $ message-vault check-storage file:/mnt/disk/vault
  $ message-vault check-storage "DefaultEndpointsProtocol=https;AccountName=…;AccountKey=…" --json
`;

/** The command that shows whether a storage does what the vault needs. `finish` gets the exit code. */
export function createCheckStorageCommand(io: CliIo, finish: (code: number) => void): Command {
  return new Command("check-storage")
    .summary("check that a storage does what a vault needs")
    .description("Tries everything that a vault relies on, on a storage of yours, and names every difference.")
    .argument("<storage>", "file:PATH, memory:, azurite:, an Azure container URL or connection string")
    .option("--json", "print a JSON object a line for each check")
    .addHelpText("after", examples)
    .action(async (storage: string, options: { readonly json?: boolean }) => {
      finish(await check(io, storage, options.json === true));
    });
}

async function check(io: CliIo, storage: string, json: boolean): Promise<number> {
  // Only now: the Azure SDK takes longest to load, and most commands do not need it.
  const { checkStorage } = await import("../blob/check-storage.ts");
  const { openStore } = await import("../blob/open-store.ts");
  const output = openOutput(io);
  let differences = 0;
  let checks = 0;
  try {
    const store = await openStore(storage, io.clock, createLog("warn", "text", io.stderr));
    try {
      for await (const { title, difference, durationMs } of checkStorage(store, io.clock)) {
        checks++;
        if (difference !== undefined) differences++;
        const fields = { title, ok: difference === undefined, ...(difference === undefined ? {} : { difference }) };
        const text = difference === undefined ? `ok    ${title}\n` : `FAIL  ${title}\n      ${difference}\n`;
        await output.write(json ? toJsonLine(toJsonFields({ ...fields, durationMs })) : text);
        if (io.interrupted.aborted) return exitCodes.interrupted;
      }
    } finally {
      await store.close();
    }
  } catch (error) {
    return reportFailure(io, error);
  }
  const verdict = differences === 0 ? "this storage does what a vault needs" : "do not run a vault on this storage";
  say(io, `${checks} checks, ${differences} differences: ${verdict}`);
  return differences === 0 ? exitCodes.done : exitCodes.failed;
}
