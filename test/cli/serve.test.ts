import test from "ava";
import { createClient } from "../support/create-client.ts";
import { startVaultProcess } from "../support/start-vault-process.ts";
import { waitUntil } from "../support/wait-until.ts";

test("serve - prints its address as one line of JSON, and ends with 0 at SIGTERM", async (t) => {
  const vault = await startVaultProcess(t, ["--storage", "memory:"]);
  const client = createClient(t, vault);
  const receipt = await client.publish("s", [{ value: "x" }]);
  t.is(receipt.firstOffset, 0n);
  const tail = client.subscribe("s", { start: { at: "earliest" }, retryForMs: 0 }).batches();
  await tail.next();
  t.is(await vault.kill("SIGTERM"), 0);
});

test("serve - a second signal ends it at once", async (t) => {
  const vault = await startVaultProcess(t, ["--storage", "memory:", "--shutdown-grace-ms", "60s"]);
  // A call that does not end when it is told to keeps the vault waiting.
  const client = createClient(t, vault);
  const pipeline = client.pipeline();
  await client.publish("s", [{ value: "x" }]);
  vault.child.kill("SIGTERM");
  vault.child.kill("SIGTERM");
  const code = await vault.kill("SIGTERM");
  t.true(code === 130 || code === 0, String(code));
  await pipeline.close();
});

test("serve - what was acknowledged is there after SIGKILL, also for a client that goes on", async (t) => {
  const { mkdtemp, rm } = await import("node:fs/promises");
  const { tmpdir } = await import("node:os");
  const directory = await mkdtemp(`${tmpdir()}/message-vault-serve-`);
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const first = await startVaultProcess(t, ["--storage", `file:${directory}`]);
  const client = createClient(t, first);
  const publisher = client.publisher("s");
  await publisher.publish([{ value: "one" }]);
  await first.kill("SIGKILL");
  const port = first.endpoint.split(":").at(-1)!;
  const pending = publisher.publish([{ value: "two" }]);
  const second = await startVaultProcess(t, ["--storage", `file:${directory}`, "--port", port]);
  t.is(second.endpoint, first.endpoint);
  t.is((await pending).firstOffset, 1n);
  await waitUntil(() => publisher.acknowledged.recordCount === 2, "both are acknowledged");
  const values: string[] = [];
  for await (const { records } of client.subscribe("s", { start: { at: "earliest" }, end: { at: "tail" } }).batches()) {
    values.push(...records.map(({ value }) => Buffer.from(value).toString()));
  }
  t.deepEqual(values, ["one", "two"]);
});
