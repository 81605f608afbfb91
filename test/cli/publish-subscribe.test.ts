import { PassThrough } from "node:stream";
import test from "ava";
import { createClient } from "../support/create-client.ts";
import { createVault } from "../support/create-vault.ts";
import { startCli } from "../support/run-cli.ts";
import { waitUntil } from "../support/wait-until.ts";

interface PrintedRecord {
  readonly offset: string;
  readonly timestamp: string;
  readonly key?: string;
  readonly value?: string;
  readonly value_base64?: string;
  readonly headers?: readonly { readonly name: string; readonly value?: string }[];
  readonly event_time?: string;
}

function parseLines(text: string): PrintedRecord[] {
  return text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as PrintedRecord);
}

test("publish - lines become records, and subscribe prints them in every format", async (t) => {
  const { endpoint } = await createVault(t);
  const at = ["--address", endpoint];
  const publish = startCli(["publish", "greetings", ...at, "--json"], "hello\n\nwörld\n");
  t.is(await publish.exited, 0);
  const summary = JSON.parse(publish.stdout()) as Record<string, unknown>;
  t.like(summary, {
    complete: true,
    record_count: 3,
    streams: { greetings: { record_count: 3, first_offset: "0", next_offset: "3" } },
  });
  const lines = startCli(["subscribe", "greetings", "--format", "lines", ...at]);
  t.is(await lines.exited, 0);
  t.is(lines.stdout(), "hello\n\nwörld\n");
  const json = startCli(["subscribe", "greetings", "--format", "json", ...at]);
  await json.exited;
  t.deepEqual(
    parseLines(json.stdout()).map(({ offset, value }) => [offset, value]),
    [
      ["0", "hello"],
      ["1", ""],
      ["2", "wörld"],
    ],
  );
  const text = startCli(["subscribe", "greetings", ...at]);
  await text.exited;
  t.regex(text.stdout(), /^0 {2}\d{4}-\d\d-\d\dT[\d:.]+Z {2}hello\n/);
});

test("publish - json lines go to the streams that they name, with key, headers and time", async (t) => {
  const { endpoint } = await createVault(t);
  const at = ["--address", endpoint];
  const events = [
    { kind: "order", user: "ann", region: "eu", at: "2026-11-22T10:00:00Z" },
    { kind: "visit", user: "bob", at: 1_700_000_000 },
    { kind: "order", user: "cid", at: 1_700_000_000_500 },
  ];
  const input = events.map((event) => `${JSON.stringify(event)}\n`).join("");
  const fields = ["--stream-field", "kind", "--key-field", "user", "--header-field", "region", "--time-field", "at"];
  const publish = startCli(["publish", "--format", "json", ...fields, ...at], input);
  t.is(await publish.exited, 0, publish.stderr());
  t.regex(publish.stderr(), /published to 2 streams and acknowledged: 3 records/);
  const orders = startCli(["subscribe", "order", "--format", "json", ...at]);
  await orders.exited;
  const [first, second] = parseLines(orders.stdout());
  t.like(first, { key: "ann", event_time: "2026-11-22T10:00:00.000Z", headers: [{ name: "region", value: "eu" }] });
  t.is(first?.value, JSON.stringify(events[0]));
  t.like(second, { key: "cid", event_time: "2023-11-14T22:13:20.500Z" });
  const filtered = startCli(["subscribe", "order", "--filter", "c", "--format", "json", ...at]);
  await filtered.exited;
  t.deepEqual(
    parseLines(filtered.stdout()).map(({ key }) => key),
    ["cid"],
  );
});

test("publish - raw records that were printed go in again as they came out", async (t) => {
  const { endpoint } = await createVault(t);
  const client = createClient(t, { endpoint });
  const value = Buffer.from([0xff, 0, 1, 2]);
  await client.publish("old", [
    { key: "k", value, headers: [{ name: "h", value: "1" }] },
    { value: Buffer.alloc(300_000, 7), eventTime: 1_700_000_000_123 },
  ]);
  const raw = startCli(["subscribe", "old", "--format", "raw", "--address", endpoint]);
  t.is(await raw.exited, 0);
  const publish = startCli(["publish", "new", "--format", "raw", "--address", endpoint], raw.stdoutBytes());
  t.is(await publish.exited, 0, publish.stderr());
  const json = startCli(["subscribe", "new", "--format", "json", "--address", endpoint]);
  await json.exited;
  const [first, second] = parseLines(json.stdout());
  t.like(first, { key: "k", value_base64: value.toString("base64"), headers: [{ name: "h", value: "1" }] });
  t.is(second?.event_time, "2023-11-14T22:13:20.123Z");
  t.is(second?.value, Buffer.alloc(300_000, 7).toString());
});

test("publish - a line that makes no sense ends it, and what was read before is stored", async (t) => {
  const { endpoint } = await createVault(t);
  const input = '{"a":1}\n{"a":2}\noops\n{"a":4}\n';
  const publish = startCli(["publish", "s", "--format", "json", "--json", "--address", endpoint], input);
  t.is(await publish.exited, 1);
  t.regex(publish.stderr(), /line 3 of standard input is no JSON/);
  t.regex(publish.stderr(), /acknowledged: 2 records/);
  t.like(JSON.parse(publish.stdout()), { complete: false, record_count: 2 });
});

test("publish - a record that the vault refuses ends it with a message", async (t) => {
  const { endpoint } = await createVault(t);
  const input = `{"k":"${"x".repeat(2000)}"}\n`;
  const publish = startCli(["publish", "s", "--format", "json", "--key-field", "k", "--address", endpoint], input);
  t.is(await publish.exited, 1);
  t.regex(publish.stderr(), /error: .*key/i);
});

test("publish - Ctrl-C publishes what was read, and says how much that was", async (t) => {
  const { endpoint } = await createVault(t);
  const client = createClient(t, { endpoint });
  const input = new PassThrough();
  const publish = startCli(["publish", "s", "--linger", "1h", "--json", "--address", endpoint], input);
  input.write("one\ntwo\n");
  await waitUntil(() => input.readableLength === 0, "the input is read");
  await client.getCluster();
  publish.interrupt();
  t.is(await publish.exited, 130);
  t.like(JSON.parse(publish.stdout()), { complete: false, record_count: 2 });
});

test("subscribe - begins and ends where it was told", async (t) => {
  const { endpoint } = await createVault(t);
  const client = createClient(t, { endpoint });
  for (let i = 0; i < 10; i++) await client.publish("s", [{ value: `${i}` }]);
  const read = async (...args: string[]) => {
    const run = startCli(["subscribe", "s", "--format", "lines", "--address", endpoint, ...args]);
    t.is(await run.exited, 0, run.stderr());
    return run.stdout().trimEnd().split("\n").join("");
  };
  t.is(await read(), "0123456789");
  t.is(await read("--from", "last:3"), "789");
  t.is(await read("--from", "4", "--to", "6"), "45");
  t.is(await read("--from", "7", "--to", "count:2"), "78");
  t.is(await read("--from", "2000-01-01", "--to", "count:1"), "0");
  t.is(await read("--to", "2000-01-01"), "");
});

test("subscribe - follows until Ctrl-C, which ends it with 0", async (t) => {
  const { endpoint } = await createVault(t);
  const client = createClient(t, { endpoint });
  await client.publish("s", [{ value: "before" }]);
  const follow = startCli(["subscribe", "s", "--follow", "--format", "lines", "--address", endpoint]);
  await waitUntil(() => follow.stdout() === "before\n", "the first record is printed");
  await client.publish("s", [{ value: "after" }]);
  await waitUntil(() => follow.stdout() === "before\nafter\n", "the next record is printed");
  follow.interrupt();
  t.is(await follow.exited, 0);
});

test("subscribe - ends when nobody reads its output any more", async (t) => {
  const { endpoint } = await createVault(t);
  const client = createClient(t, { endpoint });
  await client.publish("s", [{ value: "x" }]);
  const follow = startCli(["subscribe", "s", "--follow", "--address", endpoint]);
  await waitUntil(() => follow.stdout() !== "", "the first record is printed");
  follow.output.destroy(Object.assign(new Error("write EPIPE"), { code: "EPIPE" }));
  t.is(await follow.exited, 0);
});

test("subscribe - a stream that is missing is named, with what to do", async (t) => {
  const { endpoint } = await createVault(t);
  const run = startCli(["subscribe", "nothing", "--address", endpoint]);
  t.is(await run.exited, 1);
  t.regex(run.stderr(), /error: .*nothing/);
  t.regex(run.stderr(), /streams list/);
});
