import { open } from "node:fs/promises";
import { join } from "node:path";
import type { ExecutionContext } from "ava";
import test from "ava";
import { createClient } from "../support/create-client.ts";
import { createDirectory } from "../support/create-directory.ts";
import { createVault } from "../support/create-vault.ts";
import { startCli } from "../support/run-cli.ts";

async function createStored(t: ExecutionContext) {
  const directory = await createDirectory(t);
  const storage = `file:${directory}`;
  const vault = await createVault(t, { storage });
  const client = createClient(t, vault);
  for (let i = 0; i < 20; i++) {
    await client.publish("orders", [{ value: `record ${i}`.padEnd(2000) }]);
    await client.publish("Other.Stream", [{ value: `${i}` }]);
  }
  const { segments } = await client.readAccess("orders");
  const verify = async (...argv: string[]) => {
    const run = startCli(["verify", "--storage", storage, ...argv]);
    return { code: await run.exited, stdout: run.stdout(), stderr: run.stderr() };
  };
  return { vault, verify, segmentPath: join(directory, segments[0]!.blob) };
}

async function flipByte(path: string, text: string): Promise<void> {
  const file = await open(path, "r+");
  const { buffer } = await file.read({ buffer: Buffer.alloc(1024 * 1024), position: 0 });
  const position = buffer.indexOf(text);
  buffer[position]! ^= 1;
  await file.write(buffer, position, 1, position);
  await file.close();
}

test("verify - finds nothing in streams that are well, with the vault running and not", async (t) => {
  const { vault, verify } = await createStored(t);
  const running = await verify("--all");
  t.is(running.code, 0, running.stdout);
  t.regex(running.stdout, /^Other\.Stream: 1 segment, .* 20 records, .* 0 findings\norders: 1 segment, /);
  t.regex(running.stderr, /2 streams checked, 0 findings/);
  await vault.close();
  const stopped = await verify("orders");
  t.is(stopped.code, 0);
  t.regex(stopped.stdout, /^orders: 1 segment, .* 20 records/);
});

test("verify - names the place of a byte that was flipped, and says so with its exit code", async (t) => {
  const { vault, verify, segmentPath } = await createStored(t);
  await vault.close();
  await flipByte(segmentPath, "record 7 ");
  const text = await verify("--all");
  t.is(text.code, 1);
  t.regex(text.stdout, /orders: FINDING: streams\/orders\/.*\.segment at \d+: damaged: offset 7 should be here/);
  t.regex(text.stderr, /2 streams checked, 1 finding\n/);
  const json = await verify("orders", "--json");
  t.is(json.code, 1);
  const events = json.stdout.trimEnd().split("\n");
  const finding = events.map((line) => JSON.parse(line) as { kind: string }).find(({ kind }) => kind === "finding");
  t.like(finding, { stream: "orders", kind: "finding" });
});

test("verify - says what is missing", async (t) => {
  const { verify } = await createStored(t);
  const missing = await verify("nothing");
  t.is(missing.code, 1);
  t.regex(missing.stdout, /nothing: FINDING: .* there is no stream nothing/);
  t.is((await verify()).code, 2);
  t.is((await verify("orders", "--all")).code, 2);
  const nowhere = startCli(["verify", "--all", "--storage", "file:/nowhere/at/all"]);
  t.is(await nowhere.exited, 1);
  t.regex(nowhere.stderr(), /there is no directory \/nowhere\/at\/all/);
});
