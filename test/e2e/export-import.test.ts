/** Real events out of a stream and into another one, while exporter, importer and vault are killed over and over. */
import { existsSync, statSync } from "node:fs";
import { readFile } from "node:fs/promises";
import test from "ava";
import type { ExecutionContext } from "ava";
import type { RecordInput, VaultClient } from "../../src/client.ts";
import { createClient } from "../support/create-client.ts";
import { createDirectory } from "../support/create-directory.ts";
import { findFreePort } from "../support/find-free-port.ts";
import { readRealEvents } from "../support/real-events.ts";
import { startCliProcess } from "../support/start-cli-process.ts";
import { startVaultProcess } from "../support/start-vault-process.ts";

/** The events, and among them what is not as events are: no UTF-8, nothing at all, headers of one name. */
function toRecords(lines: readonly string[]): RecordInput[] {
  return lines.map((line, i) => {
    if (i % 50 === 0) return { key: Buffer.from([0xff, i % 256]), value: Buffer.from(`\0${line}`, "utf16le") };
    if (i % 50 === 1) return { value: "" };
    const headers = [
      { name: "part", value: `${i}` },
      { name: "größe", value: Buffer.from([0x80, i % 256]) },
      { name: "part", value: "" },
    ];
    return { key: `commit ${i}`, value: line, eventTime: i - 5, ...(i % 3 === 0 ? { headers } : {}) };
  });
}

async function publishAll(client: VaultClient, stream: string, records: readonly RecordInput[]): Promise<void> {
  const publisher = client.publisher(stream, { batchRecords: 500 });
  for (const record of records) await publisher.add(record);
  await publisher.close();
}

/** Exports, and kills the exporter each time when its file has grown by a fifth. Returns how often it was too late. */
async function exportInPieces(t: ExecutionContext, endpoint: string, stream: string, file: string, sizeBytes: number) {
  let late = 0;
  for (const share of [0.02, 0.25, 0.5, 0.75]) {
    const run = startCliProcess(t, ["export", stream, file, "--resume", "--address", endpoint]);
    const ended = run.exited.then(() => late++);
    while (run.child.exitCode === null && !(existsSync(file) && statSync(file).size > share * sizeBytes)) {
      await new Promise((resolve) => void setImmediate(resolve));
    }
    run.child.kill("SIGKILL");
    await ended;
    if ((await run.exited) === "SIGKILL") late--;
  }
  const last = startCliProcess(t, ["export", stream, file, "--resume", "--json", "--address", endpoint]);
  t.is(await last.exited, 0, last.stderr());
  t.like(JSON.parse(last.stdout()), { complete: true });
  return late;
}

const withoutTimestamps = (text: string) => text.replaceAll(/^(\{"offset":"\d+"),"timestamp":"[^"]*"/gm, "$1");

test("export and import - nothing is lost or doubled though exporter, importer and vault are killed", async (t) => {
  const lines = readRealEvents(t);
  if (lines === undefined) return;
  t.timeout(240_000);
  const directory = await createDirectory(t);
  const port = await findFreePort(t);
  const serve = () => startVaultProcess(t, ["--storage", `file:${directory}/data`, "--port", `${port}`]);
  let vault = await serve();
  const { endpoint } = vault;
  const client = createClient(t, { endpoint });
  const records = toRecords(lines);
  await publishAll(client, "events", records);

  const whole = `${directory}/whole.jsonl`;
  const once = startCliProcess(t, ["export", "events", whole, "--address", endpoint]);
  t.is(await once.exited, 0, once.stderr());
  const expected = await readFile(whole, "utf8");
  const pieced = `${directory}/pieced.jsonl`;
  const late = await exportInPieces(t, endpoint, "events", pieced, statSync(whole).size);
  t.true(late < 4, "at least one exporter was killed in the middle");
  t.true((await readFile(pieced, "utf8")) === expected, "the file is as if nothing had happened");

  const binary = `${directory}/events.pb`;
  t.is(await startCliProcess(t, ["export", "events", binary, "--address", endpoint]).exited, 0);
  const importing = ["import", "copy", binary, "--original-time", "drop", "--json", "--address", endpoint];
  await client.createStream("copy");
  const imported = async () => Number((await client.getStream("copy")).nextOffset);
  let kills = 0;
  for (const share of [0.05, 0.5]) {
    const run = startCliProcess(t, importing);
    while (run.child.exitCode === null && (await imported()) < share * records.length);
    run.child.kill("SIGKILL");
    if ((await run.exited) === "SIGKILL") kills++;
    t.true((await imported()) > 0);
  }
  t.true(kills > 0, "at least one importer was killed in the middle");
  const reached = await imported();
  const last = startCliProcess(t, importing);
  while (last.child.exitCode === null && (await imported()) === reached);
  await vault.kill("SIGKILL");
  vault = await serve();
  t.is(await last.exited, 0, last.stderr());
  const summary = JSON.parse(last.stdout()) as { skipped_count: number; record_count: number };
  t.is(summary.skipped_count + summary.record_count, records.length);
  t.true(summary.skipped_count >= reached);
  const again = startCliProcess(t, importing);
  t.is(await again.exited, 0, again.stderr());
  t.like(JSON.parse(again.stdout()), { record_count: 0, skipped_count: records.length });

  const copy = `${directory}/copy.jsonl`;
  t.is(await startCliProcess(t, ["export", "copy", copy, "--address", endpoint]).exited, 0);
  t.true(withoutTimestamps(await readFile(copy, "utf8")) === withoutTimestamps(expected));
  t.log(`${records.length} records, ${4 - late} exporters and ${kills} importers killed`);
});
