import { appendFile, readFile, truncate, writeFile } from "node:fs/promises";
import { Readable } from "node:stream";
import { create, toBinary } from "@bufbuild/protobuf";
import { sizeDelimitedEncode } from "@bufbuild/protobuf/wire";
import test from "ava";
import type { ExecutionContext } from "ava";
import { RecordSchema } from "../../gen/messagevault/v1/record_pb.ts";
import { createClient } from "../support/create-client.ts";
import { createRandom } from "../support/create-clock.ts";
import { createDirectory } from "../support/create-directory.ts";
import { createVault } from "../support/create-vault.ts";
import { randomRecords } from "../support/random-records.ts";
import { startCli } from "../support/run-cli.ts";

const formats = ["json", "protobuf"] as const;

/** A vault with a stream of records of every kind, and a place for files. */
async function createExchange(t: ExecutionContext) {
  const { endpoint } = await createVault(t);
  const client = createClient(t, { endpoint });
  const random = createRandom(11);
  const records = Array.from({ length: 30 }, () => randomRecords(random, 20)).flat();
  const publisher = client.publisher("old", { batchRecords: 25 });
  for (const record of records) await publisher.addEncoded(toBinary(RecordSchema, create(RecordSchema, record)));
  await publisher.close();
  const directory = await createDirectory(t);
  const run = async (command: string, stream: string, file: string, ...args: string[]) => {
    const cli = startCli([command, stream, file, "--address", endpoint, ...args]);
    return { code: await cli.exited, stdout: cli.stdout(), bytes: cli.stdoutBytes(), stderr: cli.stderr() };
  };
  const summarize = async (command: string, stream: string, file: string, ...args: string[]) => {
    const { code, stdout, stderr } = await run(command, stream, file, "--json", ...args);
    t.is(code, 0, stderr);
    return JSON.parse(stdout) as Record<string, unknown>;
  };
  return { client, endpoint, run, summarize, records, at: (name: string) => `${directory}/${name}` };
}

const withoutTimestamps = (text: string) => text.replaceAll(/"timestamp":"[^"]*",/g, "");

for (const format of formats) {
  test(`export and import - ${format}: what comes back is the same, but for the vault's timestamps`, async (t) => {
    const { run, summarize, records, at } = await createExchange(t);
    const file = at(`old.${format === "json" ? "jsonl" : "pb"}`);
    t.like(await summarize("export", "old", file), { complete: true, format, record_count: records.length });
    const imported = await summarize("import", "new", file, "--original-time", "drop");
    t.like(imported, {
      complete: true,
      record_count: records.length,
      skipped_count: 0,
      next_offset: `${records.length}`,
    });
    const [before, after] = [await run("export", "old", "-"), await run("export", "new", "-")];
    t.is(withoutTimestamps(after.stdout), withoutTimestamps(before.stdout));
    t.not(after.stdout, before.stdout);
    // A second time around nothing is left that could change, timestamps kept as event times apart.
    await summarize("export", "new", at(`new.${format}`), "--format", format);
    await summarize("import", "newer", at(`new.${format}`), "--format", format);
    const newer = await run("export", "newer", "-");
    t.is(withoutEventTimes(newer.stdout), withoutEventTimes(before.stdout));
    const kept = newer.stdout
      .trimEnd()
      .split("\n")
      .map((line) => (JSON.parse(line) as { event_time?: string }).event_time);
    t.false(kept.includes(undefined));
  });

  test(`export and import - ${format}: an export whose end is torn goes on where it ends, wherever it is cut`, async (t) => {
    const { run, summarize, at } = await createExchange(t);
    const { bytes } = await run("export", "old", "-", "--format", format);
    const random = createRandom(5);
    const file = at("torn");
    const cuts = [
      0,
      1,
      bytes.length - 1,
      bytes.length,
      ...Array.from({ length: 20 }, () => Math.floor(random() * bytes.length)),
    ];
    for (const length of cuts) {
      await writeFile(file, bytes.subarray(0, length));
      await summarize("export", "old", file, "--format", format, "--resume");
      const whole = await readFile(file);
      if (!whole.equals(bytes)) t.fail(`cut at ${length} of ${bytes.length}`);
    }
    t.pass();
  });

  test(`export and import - ${format}: an import goes on where the stream ends, and a finished one stores nothing`, async (t) => {
    const { client, run, summarize, records, at } = await createExchange(t);
    const file = at("old");
    await summarize("export", "old", file, "--format", format);
    const all = await readFile(file);
    // As much as an import before this one got to store.
    const part = await run("export", "old", "-", "--format", format, "--until", "100");
    await writeFile(file, part.bytes);
    await summarize("import", "new", file, "--format", format);
    await writeFile(file, all);
    const rest = await summarize("import", "new", file, "--format", format);
    t.like(rest, { skipped_count: 100, record_count: records.length - 100, first_offset: "100" });
    const again = await summarize("import", "new", file, "--format", format);
    t.like(again, { complete: true, skipped_count: records.length, record_count: 0 });
    t.is((await client.getStream("new")).nextOffset, BigInt(records.length));
  });
}

const withoutEventTimes = (text: string) =>
  text.replaceAll(/"timestamp":"[^"]*",/g, "").replaceAll(/,"event_time":"[^"]*"/g, "");

test("export - protobuf is what protobuf libraries write delimited", async (t) => {
  const { client, run } = await createExchange(t);
  await client.publish("one", [{ key: "k", value: Buffer.alloc(300, 1), eventTime: 5 }]);
  const { bytes } = await run("export", "one", "-", "--format", "protobuf");
  const [delivery] = await Array.fromAsync(
    client.subscribe("one", { start: { at: "earliest" }, end: { at: "tail" } }).batches(),
  );
  const { timestamp } = delivery!.records[0]!;
  const record = create(RecordSchema, {
    timestamp: { seconds: BigInt(Math.floor(timestamp / 1000)), nanos: (timestamp % 1000) * 1e6 },
    key: Buffer.from("k"),
    value: Buffer.alloc(300, 1),
    eventTime: { nanos: 5_000_000 },
  });
  t.deepEqual(bytes, Buffer.from(sizeDelimitedEncode(RecordSchema, record)));
});

test("export - begins and ends where it was told, also when it goes on", async (t) => {
  const { run, summarize, at } = await createExchange(t);
  const offsets = (text: string) => [...text.matchAll(/^\{"offset":"(\d+)"/gm)].map(([, offset]) => Number(offset));
  t.deepEqual(offsets((await run("export", "old", "-", "--from", "7", "--until", "10")).stdout), [7, 8, 9]);
  t.is((await run("export", "old", "-", "--until", "2000-01-01")).stdout, "");
  const file = at("some.jsonl");
  await summarize("export", "old", file, "--resume", "--from", "7", "--until", "10");
  await summarize("export", "old", file, "--resume", "--from", "7", "--until", "12");
  t.like(await summarize("export", "old", file, "--resume", "--until", "12"), { record_count: 0 });
  t.deepEqual(offsets(await readFile(file, "utf8")), [7, 8, 9, 10, 11]);
});

test("export - a file that is there is not written over, and one of another stream is not gone on with", async (t) => {
  const { client, run, at } = await createExchange(t);
  const file = at("old.jsonl");
  t.is((await run("export", "missing", file)).code, 1);
  t.is((await run("export", "old", file, "--until", "50")).code, 0);
  const before = await readFile(file, "utf8");
  const twice = await run("export", "old", file);
  t.is(twice.code, 1);
  t.regex(twice.stderr, /is there already: give --resume/);
  await client.publish(
    "other",
    Array.from({ length: 60 }, (_, i) => ({ value: `${i}` })),
  );
  const other = await run("export", "other", file, "--resume");
  t.is(other.code, 1);
  t.regex(other.stderr, /ends with another record 49 than the stream other has/);
  await client.publish("short", [{ value: "x" }]);
  t.regex((await run("export", "short", file, "--resume")).stderr, /offset 49 is not in stream short/);
  t.is(await readFile(file, "utf8"), before);
  await appendFile(file, "nonsense\n");
  t.regex((await run("export", "old", file, "--resume")).stderr, /the last record of .* is no JSON/);
});

test("export - arguments that make no sense together are refused", async (t) => {
  const { run } = await createExchange(t);
  t.is((await run("export", "old", "-", "--json")).code, 2);
  t.is((await run("export", "old", "-", "--resume")).code, 2);
  t.is((await run("export", "old", "-", "--until", "count:3")).code, 2);
});

test("import - goes behind what the stream had before, where it is told so", async (t) => {
  const { client, run, summarize, at } = await createExchange(t);
  await client.publish("new", [{ value: "a" }, { value: "b" }]);
  const file = at("some.pb");
  await run("export", "old", file, "--until", "40");
  for (const count of [40, 0]) {
    t.like(await summarize("import", "new", file, "--at", "2"), { record_count: count, skipped_count: 40 - count });
  }
  t.is((await client.getStream("new")).nextOffset, 42n);
  const beyond = await run("import", "new", file, "--at", "43");
  t.is(beyond.code, 1);
  t.regex(beyond.stderr, /ends at offset 42, before 43/);
});

test("import - nothing is stored where the stream has other records than the input", async (t) => {
  const { client, run, at } = await createExchange(t);
  const file = at("some.pb");
  await run("export", "old", file, "--until", "40");
  await client.publish("other", [{ value: "not from the file" }]);
  const other = await run("import", "other", file);
  t.is(other.code, 1);
  t.regex(other.stderr, /last record of the stream other is not record 1 of the input: nothing was stored/);
  t.is((await client.getStream("other")).nextOffset, 1n);
  await run("import", "long", file);
  await client.publish("long", [{ value: "one more" }]);
  const long = await run("import", "long", file);
  t.is(long.code, 1);
  t.regex(long.stderr, /has more records than/);
  t.is((await client.getStream("long")).nextOffset, 41n);
});

test("import - somebody who publishes meanwhile ends it, and is named as the reason", async (t) => {
  const { client, endpoint } = await createExchange(t);
  async function* writeWhileAnotherPublishes() {
    yield '{"value":"1"}\n';
    while (!(await client.listStreams()).names.includes("new"));
    await client.publish("new", [{ value: "another" }]);
    yield '{"value":"2"}\n';
  }
  const input = Readable.from(writeWhileAnotherPublishes());
  const run = startCli(["import", "new", "-", "--json", "--address", endpoint], input);
  t.is(await run.exited, 1);
  t.regex(run.stderr(), /somebody else publishes to the stream new/);
  t.like(JSON.parse(run.stdout()), { complete: false, record_count: 1 });
});

test("import - an input that ends within a record is stored up to there", async (t) => {
  const { client, run, at } = await createExchange(t);
  const file = at("torn.pb");
  await run("export", "old", file, "--until", "40");
  await truncate(file, (await readFile(file)).length - 1);
  const torn = await run("import", "new", file);
  t.is(torn.code, 1);
  t.regex(torn.stderr, /record 40 of .*torn\.pb is cut short/);
  t.is((await client.getStream("new")).nextOffset, 39n);
});

test("import - a line that makes no sense is named, and what stands before it is stored", async (t) => {
  const { client, run, at } = await createExchange(t);
  const file = at("bad.jsonl");
  await writeFile(file, '{"value":"a"}\n{"value":"b"}\n{"valu":"c"}\n{"value":"d"}\n');
  const bad = await run("import", "new", file);
  t.is(bad.code, 1);
  t.regex(bad.stderr, /line 3 of .*bad\.jsonl has a field valu/);
  t.is((await client.getStream("new")).nextOffset, 2n);
  const missing = await run("import", "new", at("missing"));
  t.is(missing.code, 1);
  t.regex(missing.stderr, /ENOENT/);
});

test("import - the largest record fits, also as JSON that takes six characters for each byte", async (t) => {
  const { client, run, at } = await createExchange(t);
  const value = Buffer.alloc(1024 * 1024 - 100, 1);
  await client.publish("large", [{ value }, { value: Buffer.alloc(value.length, 0xff) }]);
  t.is((await run("export", "large", at("large.jsonl"))).code, 0);
  const imported = await run("import", "copy", at("large.jsonl"));
  t.is(imported.code, 0, imported.stderr);
  const copies = await Array.fromAsync(client.subscribe("copy", { start: { at: "earliest" }, end: { at: "tail" } }));
  t.deepEqual(
    copies.map((record) => record.valueBytes),
    [value.length, value.length],
  );
  t.deepEqual(Buffer.from(copies[0]!.value), value);
});
