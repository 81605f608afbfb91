/** What a running vault does while its storage is checked is never taken for damage. */
import test from "ava";
import type { ExecutionContext } from "ava";
import { open } from "node:fs/promises";
import { headerBytes } from "../../src/blob/file-header.ts";
import type { VaultClient } from "../../src/client.ts";
import { createAzurite } from "../support/create-azurite.ts";
import { createClient } from "../support/create-client.ts";
import { createDirectory } from "../support/create-directory.ts";
import { startCli } from "../support/run-cli.ts";
import { startVaultProcess } from "../support/start-vault-process.ts";
import { waitUntil } from "../support/wait-until.ts";

const streams = ["kept", "trimmed"] as const;

/** A load that rolls all the time: one stream keeps 1 MiB, one is trimmed to its end, one is deleted and made again. */
function startLoad(client: VaultClient) {
  const stopping = new AbortController();
  let acknowledged = 0;
  const loop = async (turn: () => Promise<unknown>) => {
    while (!stopping.signal.aborted) await turn();
  };
  const publish = (stream: string) => {
    const publisher = client.publisher(stream, { inFlightRequestsMax: 8 });
    const work = async () => {
      await publisher.publish([{ value: "x".repeat(1 + ((acknowledged * 7) % 9000)) }]);
      if (stream === "kept") acknowledged++;
    };
    return Promise.all(Array.from({ length: 8 }, () => loop(work)));
  };
  const trim = async () => {
    const { nextOffset } = await client.getStream("trimmed");
    await client.trimStream("trimmed", { offset: nextOffset });
  };
  const recreate = async () => {
    for (let i = 0; i < 10; i++) await client.publish("recreated", [{ value: "x".repeat(20_000) }]);
    await client.deleteStream("recreated");
  };
  let running: Promise<unknown> | undefined;
  return {
    /** How many batches of the stream "kept" are acknowledged. */
    acknowledged: () => acknowledged,
    async start() {
      await client.createStream("kept", { retentionBytes: 1024 * 1024 });
      await Promise.all(streams.map((stream) => client.publish(stream, [{ value: "first" }])));
      running = Promise.all([...streams.map(publish), loop(trim), loop(recreate)]);
      running.catch(() => stopping.abort());
    },
    async stop() {
      stopping.abort();
      await running;
    },
  };
}

async function runVerify(storage: string, ...argv: string[]) {
  const run = startCli(["verify", "--storage", storage, "--json", ...argv]);
  const code = await run.exited;
  const lines = run.stdout().split("\n").slice(0, -1);
  const events = lines.map((line) => JSON.parse(line) as Record<string, string>);
  return { code, events, findings: events.filter(({ kind }) => kind === "finding"), errors: run.stderr() };
}

async function verify(t: ExecutionContext, storage: string, ...argv: string[]) {
  const { code, events, findings, errors } = await runVerify(storage, ...argv);
  t.deepEqual(findings, []);
  t.is(code, 0, errors);
  return events;
}

test.serial("verify - finds nothing while a vault publishes, rolls, trims and deletes on files", async (t) => {
  t.timeout(180_000);
  const storage = `file:${await createDirectory(t)}/data`;
  const settings = ["--segment-bytes", "64KiB", "--retention-sweep-ms", "100ms", "--log-level", "warn"];
  const vault = await startVaultProcess(t, ["--storage", storage, ...settings]);
  const load = startLoad(createClient(t, vault));
  await load.start();
  let nextOffset = 0n;
  for (let run = 0; run < 12; run++) {
    const before = load.acknowledged();
    const events = await verify(t, storage, "--all");
    const seen = events.findLast(({ stream, kind }) => stream === "kept" && kind === "progress");
    t.true(BigInt(seen!["next_offset"]!) > nextOffset, "it sees what was published since");
    nextOffset = BigInt(seen!["next_offset"]!);
    await waitUntil(() => load.acknowledged() > before + 50, "publishing goes on");
  }
  await load.stop();
  await verify(t, storage, ...streams);
  await vault.kill("SIGKILL");
  await verify(t, storage, ...streams);
});

test.serial("verify - names a damaged place though the vault goes on writing to the segment", async (t) => {
  t.timeout(120_000);
  const directory = `${await createDirectory(t)}/data`;
  const vault = await startVaultProcess(t, ["--storage", `file:${directory}`, "--log-level", "warn"]);
  const client = createClient(t, vault);
  const load = startLoad(client);
  await load.start();
  await waitUntil(() => load.acknowledged() > 100, "some are published");
  let [segment] = (await client.readAccess("kept")).segments;
  for (; segment!.endPosition < 4 * 4096; [segment] = (await client.readAccess("kept")).segments);
  const file = await open(`${directory}/${segment!.blob}`, "r+");
  t.teardown(() => file.close());
  // A byte of the first frame's payload: its page is never written again.
  const byte = Buffer.alloc(1);
  await file.read(byte, 0, 1, headerBytes + 70);
  await file.write(Buffer.from([byte[0]! ^ 0xff]), 0, 1, headerBytes + 70);
  for (let run = 0; run < 3; run++) {
    const before = load.acknowledged();
    const { code, findings } = await runVerify(`file:${directory}`, "kept");
    t.is(code, 1);
    t.like(findings[0], { blob: segment!.blob, position: 0, problem: "damaged: offset 0 should be here" });
    t.true(load.acknowledged() > before, "the vault went on");
  }
  await load.stop();
});

test.serial("verify - finds nothing after a vault was killed while it published", async (t) => {
  t.timeout(60_000);
  const storage = `file:${await createDirectory(t)}/data`;
  const vault = await startVaultProcess(t, ["--storage", storage, "--segment-bytes", "64KiB", "--log-level", "warn"]);
  const client = createClient(t, vault);
  const publisher = client.publisher("kept", { inFlightRequestsMax: 8 });
  let published = 0;
  const work = async () => {
    for (;;) {
      await publisher.publish([{ value: "x".repeat(9000) }]);
      published++;
    }
  };
  const working = Promise.allSettled(Array.from({ length: 8 }, work));
  await waitUntil(() => published > 50, "some are published");
  await vault.kill("SIGKILL");
  const events = await verify(t, storage, "kept");
  t.true(BigInt(events.at(-1)!["records"]!) >= BigInt(published));
  client.close();
  await working;
});

test.serial("verify - finds nothing while a vault publishes on Azurite", async (t) => {
  t.timeout(120_000);
  const { setting } = await createAzurite(t);
  const vault = await startVaultProcess(t, ["--storage", setting, "--segment-bytes", "64KiB", "--log-level", "warn"]);
  const load = startLoad(createClient(t, vault));
  await load.start();
  for (let run = 0; run < 4; run++) {
    const before = load.acknowledged();
    await verify(t, setting, "--all");
    await waitUntil(() => load.acknowledged() > before + 5, "publishing goes on");
  }
  await load.stop();
  await verify(t, setting, ...streams);
});
