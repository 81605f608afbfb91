import test from "ava";
import { createClient } from "../support/create-client.ts";
import { createVault } from "../support/create-vault.ts";
import { startCli } from "../support/run-cli.ts";

async function createTester(t: Parameters<typeof createVault>[0]) {
  const { endpoint } = await createVault(t);
  const run = async (...argv: string[]) => {
    const cli = startCli([...argv, "--address", endpoint]);
    const code = await cli.exited;
    return { code, stdout: cli.stdout(), stderr: cli.stderr() };
  };
  return { run, client: createClient(t, { endpoint }) };
}

test("streams - are created, shown, changed, listed and deleted", async (t) => {
  const { run } = await createTester(t);
  const created = await run(
    "streams",
    "create",
    "orders",
    "--retention-age",
    "30d",
    "--segment-bytes",
    "1MiB",
    "--json",
  );
  t.is(created.code, 0, created.stderr);
  t.like(JSON.parse(created.stdout), {
    name: "orders",
    next_offset: "0",
    settings: { segment_bytes: 1024 ** 2, retention_age_ms: 30 * 86_400_000 },
  });
  t.is((await run("streams", "create", "orders")).code, 1);
  const shown = await run("streams", "get", "orders");
  t.regex(shown.stdout, /retention age +30 d\n/);
  const changed = await run("streams", "update", "orders", "--retention-age", "default", "--json");
  t.like(JSON.parse(changed.stdout), { settings: { segment_bytes: 1024 ** 2, retention_age_ms: 0 } });
  await run("streams", "create", "other");
  t.is((await run("streams", "list")).stdout, "orders\nother\n");
  t.is((await run("streams", "list", "ord")).stdout, "orders\n");
  t.regex((await run("streams", "list", "--long")).stdout, /^NAME +RECORDS .*\norders +0 /);
  t.is((await run("streams", "delete", "orders")).code, 1);
  const deleted = await run("streams", "delete", "orders", "--yes");
  t.is(deleted.code, 0, deleted.stderr);
  t.is((await run("streams", "list", "--json")).stdout, '{"name":"other"}\n');
});

test("streams - trim moves the first offset, and segments tells where the bytes are", async (t) => {
  const { run, client } = await createTester(t);
  await client.publish(
    "s",
    Array.from({ length: 10 }, () => ({ value: "x" })),
  );
  const trimmed = await run("streams", "trim", "s", "--before", "4");
  t.is(trimmed.stdout, "the first offset of s is 4\n");
  const { first_offset } = JSON.parse((await run("streams", "get", "s", "--json")).stdout) as { first_offset: string };
  t.is(first_offset, "4");
  const segments = JSON.parse((await run("streams", "segments", "s", "--json")).stdout) as {
    segments: { next_offset: string; sealed: boolean }[];
  };
  t.is(segments.segments.length, 1);
  t.like(segments.segments[0], { next_offset: "10", sealed: false });
  t.regex((await run("streams", "segments", "s")).stdout, /^BLOB .*\nstreams\/s\/.* open\n/);
});

test("cluster - shows the leader", async (t) => {
  const { run } = await createTester(t);
  const { leader, node } = JSON.parse((await run("cluster", "--json")).stdout) as Record<string, { id: string }>;
  t.is(leader?.id, node?.id);
  t.regex((await run("cluster")).stdout, /^leader .*\(leader, version /m);
});

test("bench - measures all three phases and leaves nothing behind", async (t) => {
  const { run } = await createTester(t);
  const bench = await run("bench", "--records", "2000", "--batch", "100", "--tail-records", "5", "--json");
  t.is(bench.code, 0, bench.stderr);
  const { publish, replay, tail } = JSON.parse(bench.stdout) as Record<string, Record<string, number>>;
  t.is(publish?.["record_count"], 2000);
  t.true(replay!["record_count"]! >= 2000);
  t.is(tail?.["sample_count"], 5);
  t.is((await run("streams", "list")).stdout, "");
});
