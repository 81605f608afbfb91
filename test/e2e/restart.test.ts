/** Everything is there after a restart, however the vault ended; and a vault that cannot start says why. */
import { spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { crc32 } from "node:zlib";
import test from "ava";
import type { ExecutionContext } from "ava";
import type { StreamInfo } from "../../src/stream/commands.ts";
import type { VaultClient } from "../../src/client.ts";
import { createAzurite } from "../support/create-azurite.ts";
import { createClient } from "../support/create-client.ts";
import { createDirectory } from "../support/create-directory.ts";
import { findGap, readStream } from "../support/read-stream.ts";
import { startVaultProcess } from "../support/start-vault-process.ts";
import { waitUntil } from "../support/wait-until.ts";

const names = ["Settings", "gone", "rolled", "trimmed"];
const batch = (text: string) =>
  Array.from({ length: 10 }, (_, i) => ({ key: `k${i}`, value: `${text} ${i} `.repeat(400) }));

/** Makes streams with all that a stream can have. Resolves to a time between the two batches of `trimmed`. */
async function fill(client: VaultClient): Promise<number> {
  const day = 86_400_000;
  const settings = { segmentBytes: 128 * 1024, segmentAgeMs: 3 * day, retentionAgeMs: 30 * day, retentionBytes: 1e9 };
  await client.createStream("Settings", { ...settings, producerWindowMs: day / 2 });
  await client.createStream("gone");
  await client.publish("gone", [{ value: "old" }]);
  await client.deleteStream("gone");
  await client.publish("gone", [{ value: "new" }]);
  await client.createStream("rolled", { segmentBytes: 64 * 1024 });
  for (let sequence = 0n; sequence < 8n; sequence++) {
    await client.publish("rolled", batch(`rolled ${sequence}`), { producer: { id: "p", sequence } });
  }
  await client.publish("trimmed", batch("first"));
  const between = Date.now() + 1;
  await waitUntil(() => Date.now() > between, "the clock has moved on");
  // In the open segment, behind the last checkpoint: what is known of it is read from its frames.
  await client.publish("trimmed", batch("second"), { producer: { id: "q", sequence: 5n } });
  await client.trimStream("trimmed", { offset: 4n });
  return between;
}

interface Snapshot {
  readonly infos: readonly StreamInfo[];
  readonly records: readonly string[];
}

/** All that can be known of all streams. */
async function look(t: ExecutionContext, client: VaultClient): Promise<Snapshot> {
  t.deepEqual((await client.listStreams()).names, names);
  const infos: StreamInfo[] = [];
  const records: string[] = [];
  for (const name of names) {
    const info = await client.getStream(name);
    const found = await readStream(client, name);
    t.is(findGap(found, info.firstOffset), undefined, name);
    t.is(info.firstOffset + BigInt(found.length), info.nextOffset, name);
    infos.push(info);
    for (const { offset, timestamp, key, value } of found) {
      records.push(`${name} ${offset} ${toMs(timestamp)} ${Buffer.from(key).toString()} ${crc32(value)}`);
    }
  }
  return { infos, records };
}

function toMs(timestamp: { readonly seconds: bigint; readonly nanos: number } | undefined): number {
  return Number(timestamp!.seconds) * 1000 + timestamp!.nanos / 1e6;
}

async function checkProducers(t: ExecutionContext, client: VaultClient): Promise<void> {
  const again = await client.publish("rolled", batch("rolled 3"), { producer: { id: "p", sequence: 3n } });
  t.like(again, { duplicate: true, firstOffset: 30n, nextOffset: 40n });
  const producer = { id: "p", sequence: 3n };
  const reused = client.publish("rolled", batch("other"), { producer });
  t.like(await t.throwsAsync(reused), { kind: "conflict" });
  const open = await client.publish("trimmed", batch("second"), { producer: { id: "q", sequence: 5n } });
  t.like(open, { duplicate: true, firstOffset: 10n });
  const gap = client.publish("rolled", batch("gap"), { producer: { id: "p", sequence: 9n } });
  t.like(await t.throwsAsync(gap), { kind: "conflict", detail: { found: { lastSequence: "7" } } });
}

async function surviveRestarts(t: ExecutionContext, storage: string): Promise<void> {
  let vault = await startVaultProcess(t, ["--storage", storage]);
  let client = createClient(t, vault);
  const between = await fill(client);
  await checkProducers(t, client);
  const before = await look(t, client);
  t.true(before.infos[2]!.segmentCount > 2);
  for (const signal of ["SIGKILL", "SIGTERM", "SIGKILL"] as const) {
    await vault.kill(signal);
    vault = await startVaultProcess(t, ["--storage", storage]);
    client = createClient(t, vault);
    t.deepEqual(await look(t, client), before, `after ${signal}`);
    await checkProducers(t, client);
    const late = await readStream(client, "trimmed", { start: { at: "timestamp", timestamp: between } });
    t.is(late[0]?.offset, 10n);
    const trimmed = readStream(client, "trimmed", { start: { at: "offset", offset: 3n } });
    t.like(await t.throwsAsync(trimmed), { kind: "outOfRange" });
  }
  const last = toMs((await readStream(client, "rolled")).at(-1)!.timestamp);
  const next = await client.publish("rolled", batch("rolled 8"), { producer: { id: "p", sequence: 8n } });
  t.like(next, { duplicate: false, firstOffset: 80n });
  t.true(toMs((await readStream(client, "rolled")).at(-1)!.timestamp) >= last);
}

test("restart - streams, settings, trims, producers and times are there on file storage", async (t) => {
  t.timeout(60_000);
  await surviveRestarts(t, `file:${await createDirectory(t)}/data`);
});

test("restart - streams, settings, trims, producers and times are there on Azurite", async (t) => {
  t.timeout(60_000);
  const azurite = await createAzurite(t);
  await surviveRestarts(t, azurite.setting);
});

/** Runs `serve`, which must fail; resolves to its exit code and what it said. */
function failToServe(args: readonly string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, ["src/cli.ts", "serve", ...args], { stdio: ["ignore", "pipe", "pipe"] });
    let [stdout, stderr] = ["", ""];
    child.stdout.on("data", (text: Buffer) => (stdout += text.toString()));
    child.stderr.on("data", (text: Buffer) => (stderr += text.toString()));
    child.once("close", (code) => resolve({ code, stdout, stderr }));
  });
}

test("restart - a directory that another vault uses is refused, and left as it is", async (t) => {
  t.timeout(30_000);
  const directory = await createDirectory(t);
  const storage = `file:${directory}/data`;
  const vault = await startVaultProcess(t, ["--storage", storage]);
  const client = createClient(t, vault);
  await client.publish("s", [{ value: "x" }]);
  const files = readdirSync(directory, { recursive: true });
  const refused = await failToServe(["--storage", storage, "--port", "0", "--json"]);
  t.is(refused.code, 1);
  t.is(refused.stdout, "");
  t.regex(refused.stderr, /^error: another vault runs on .*data: stop it, or give this one another directory$/m);
  t.deepEqual(readdirSync(directory, { recursive: true }), files);
  t.is((await client.publish("s", [{ value: "y" }])).firstOffset, 1n);
});

test("restart - a port that is taken is refused with a hint, and the directory is free again", async (t) => {
  t.timeout(30_000);
  const storage = `file:${await createDirectory(t)}/data`;
  const vault = await startVaultProcess(t, ["--storage", "memory:"]);
  const port = vault.endpoint.split(":").at(-1)!;
  const refused = await failToServe(["--storage", storage, "--port", port]);
  t.is(refused.code, 1);
  t.regex(refused.stderr, /^error: cannot listen on 127\.0\.0\.1:\d+: another process listens there: stop it, or /m);
  const other = await startVaultProcess(t, ["--storage", storage]);
  t.is(await other.kill("SIGTERM"), 0);
});
