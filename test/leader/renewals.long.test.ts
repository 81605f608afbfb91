/** How long a leader's renewals take while it stores as much as it can. */
import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import test from "ava";
import type { ExecutionContext } from "ava";

import { openStore } from "../../src/blob/open-store.ts";
import { sleep, systemClock } from "../../src/clock.ts";
import { controlName } from "../../src/leader/control.ts";
import { encodeBatch } from "../../src/client.ts";
import { createClient } from "../support/create-client.ts";
import { azuriteSetting, startAzuriteProcess } from "../support/start-azurite-process.ts";
import { startVaultProcess } from "../support/start-vault-process.ts";
import type { VaultProcess } from "../support/start-vault-process.ts";
import { waitUntil } from "../support/wait-until.ts";

const publishers = 16;
const renewals = 60;
const renewMs = 1000;
// Four records fill a commit of 4 MiB.
const records = Array.from({ length: 4 }, () => ({ value: Buffer.alloc(1_040_000, 7) }));
const batchBytes = 4 * 1_040_000;
// Streams are begun anew after so many batches, so that storage does not fill up.
const batchesMax = 8;

/** Collects what renewals took, in milliseconds, from the vault's log. */
function collectRenewals({ child }: VaultProcess): number[] {
  const taken: number[] = [];
  let rest = "";
  child.stderr?.on("data", (text: Buffer) => {
    const lines = (rest + text.toString()).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      const tookMs = /"tookMs":(\d+)/.exec(line)?.[1];
      if (tookMs !== undefined) taken.push(Number(tookMs));
    }
  });
  return taken;
}

/** Publishes one full batch after another until it is told to stop; resolves to how many. */
async function publishOn(t: ExecutionContext, vault: VaultProcess, name: string, stopped: () => boolean) {
  const client = createClient(t, vault);
  let batches = 0;
  for (let round = 0; !stopped(); round++) {
    const stream = `${name}-${round}`;
    for (let batch = 0; batch < batchesMax && !stopped(); batch++) {
      await client.publish(stream, records, { producer: { id: name, sequence: BigInt(batch) } });
      batches++;
    }
    await client.deleteStream(stream);
  }
  return batches;
}

/** What another process's requests to storage take meanwhile, in milliseconds, one a second. */
async function measureOutside(storage: string, stopped: () => boolean): Promise<number[]> {
  const taken: number[] = [];
  const store = await openStore(storage, systemClock);
  while (!stopped()) {
    const sentAt = performance.now();
    await store.properties(controlName);
    taken.push(Math.round(performance.now() - sentAt));
    await sleep(systemClock, renewMs);
  }
  await store.close();
  return taken;
}

function describe(taken: readonly number[]): string {
  const sorted = taken.toSorted((a, b) => a - b);
  return `${sorted.length}: median ${sorted[Math.floor(sorted.length / 2)]} ms, longest ${sorted.at(-1)} ms`;
}

async function measure(t: ExecutionContext, storage: string): Promise<void> {
  t.timeout(600_000);
  t.true(encodeBatch(records).bytes.length > 4_000_000);
  const flags = ["--renew-ms", `${renewMs}ms`, "--log-level", "debug", "--segment-bytes", "40MiB"];
  const vault = await startVaultProcess(t, ["--storage", storage, ...flags]);
  const taken = collectRenewals(vault);
  let stopped = false;
  const startedAt = performance.now();
  const publishing = Promise.all(
    Array.from({ length: publishers }, (_, at) => publishOn(t, vault, `s${at}`, () => stopped)),
  );
  // A directory has one vault only, and it answers no others.
  const outside = storage.startsWith("file:") ? undefined : measureOutside(storage, () => stopped);
  await waitUntil(() => taken.length >= renewals, "enough renewals", 300_000);
  stopped = true;
  const seconds = (performance.now() - startedAt) / 1000;
  const batches = (await publishing).reduce((sum, count) => sum + count, 0);
  const rate = (batches * batchBytes) / seconds / 1e6;
  t.log(`renewals ${describe(taken)}, at ${rate.toFixed(0)} MB/s`);
  if (outside !== undefined) t.log(`another process's requests ${describe(await outside)}`);
  const { epoch } = await createClient(t, vault).getCluster();
  t.is(Number(epoch), 1, "leadership was never lost");
}

test.serial(`renewals - are in time while ${publishers} publishers fill 4 MiB commits on files`, async (t) => {
  const directory = await fs.mkdtemp(path.join(os.tmpdir(), "message-vault-"));
  t.teardown(() => fs.rm(directory, { recursive: true, force: true }));
  await measure(t, `file:${directory}`);
});

test.serial(`renewals - are in time while ${publishers} publishers fill 4 MiB commits on Azurite`, async (t) => {
  await measure(t, azuriteSetting((await startAzuriteProcess(t)).endpoint));
});
