import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { DatabaseSync } from "node:sqlite";
import { join } from "node:path";
import type { ExecutionContext } from "ava";
import type { VaultClient } from "../../src/client.ts";
import { sleep, systemClock } from "../../src/clock.ts";
import { createClient } from "./create-client.ts";
import { createRandom } from "./create-clock.ts";
import { createDirectory } from "./create-directory.ts";
import { createVault } from "./create-vault.ts";

/** How a projection is run: what stands before its own arguments. */
export interface ProjectionCommand {
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** A projection that runs. */
interface Projection {
  get(path: string): Promise<Record<string, unknown>>;
  /** Resolves to the exit code, or the signal's name where that ended it. */
  end(signal: NodeJS.Signals): Promise<number | string | null>;
  errors(): string;
}

const lookMs = 5;
const killDelayMsMax = 400;
const stream = "events";
const words = ["kafka", "fix", "consumer producer", "the", "nowheretobefound"];

/**
 * Publishes the events, and kills a projection of them over and over while it replays; then its view must have each of
 * them once, find what a direct computation finds, follow the tail, and be the same when it is made anew.
 */
export async function surviveProjection(
  t: ExecutionContext,
  lines: readonly string[],
  command: ProjectionCommand,
): Promise<void> {
  const vault = await createVault(t);
  const client = createClient(t, vault);
  await publishLines(client, lines);
  const file = join(await createDirectory(t), "view.db");
  const start = (...more: string[]) =>
    startProjection(t, command, [stream, "--vault", vault.endpoint, "--file", file, ...more]);

  const random = createRandom(7);
  let kills = 0;
  for (const share of [0.02, 0.25, 0.45, 0.65]) {
    const projection = await start();
    const reached = await waitForOffset(projection, share * lines.length);
    // It has just answered: at once, it would always be killed in the same place.
    await sleep(systemClock, random() * killDelayMsMax);
    t.is(await projection.end("SIGKILL"), "SIGKILL");
    if (checkView(t, file, lines, reached) < lines.length) kills++;
  }
  t.true(kills > 0, "at least one projection was killed in the middle");

  const projection = await start();
  await waitForOffset(projection, lines.length);
  t.is(checkView(t, file, lines, lines.length), lines.length);
  await checkSearch(t, projection, lines);
  await client.publish(stream, [{ key: "last", value: '{"subject":"nowheretobefound but here"}' }]);
  const all = [...lines, '{"subject":"nowheretobefound but here"}'];
  await waitForOffset(projection, all.length);
  await checkSearch(t, projection, all);
  await projection.end("SIGTERM");

  const rebuilt = await start("--rebuild");
  // The view that there was answers until the new one takes its place.
  let status = await rebuilt.get("/status");
  t.true(status["rebuilding"]);
  for (; status["rebuilding"] === true; status = await rebuilt.get("/status")) {
    t.is((await rebuilt.get("/search?q=nowheretobefound"))["total"], 1);
  }
  await checkSearch(t, rebuilt, all);
  t.is(checkView(t, file, all, all.length), all.length);
  t.regex(rebuilt.errors(), new RegExp(`^\\d+ of ${all.length} records, \\d+ %$`, "m"));
  await rebuilt.end("SIGKILL");
  t.log(`${all.length} events, ${kills} kills in the middle`);
}

async function publishLines(client: VaultClient, lines: readonly string[]): Promise<void> {
  const publisher = client.publisher(stream, { batchRecords: 1000 });
  for (const [i, value] of lines.entries()) await publisher.add({ key: `${i}`, value });
  await publisher.close();
}

async function startProjection(
  t: ExecutionContext,
  { command, args, env }: ProjectionCommand,
  more: readonly string[],
): Promise<Projection> {
  const child = spawn(command, [...args, ...more, "--port", "0"], { env: { ...process.env, ...env } });
  const exited = new Promise<number | string | null>((resolve) => {
    child.once("exit", (code, signal) => resolve(code ?? signal));
  });
  t.teardown(async () => {
    child.kill("SIGKILL");
    await exited;
  });
  let errors = "";
  child.stderr.on("data", (text: Buffer) => (errors += text.toString()));
  const url = await Promise.race([
    new Promise<string>((resolve) => createInterface(child.stdout).once("line", resolve)),
    exited.then((code) => Promise.reject(new Error(`the projection ended with ${code}: ${errors}`))),
  ]);
  return {
    async get(path) {
      try {
        // A kept connection may be closed just as it is used again, while this process is busy comparing.
        const response = await fetch(url + path, { headers: { connection: "close" } });
        return (await response.json()) as Record<string, unknown>;
      } catch (error) {
        throw new Error(`${path} was not answered: ${errors}`, { cause: error });
      }
    },
    end(signal) {
      child.kill(signal);
      return exited;
    },
    errors: () => errors,
  };
}

async function waitForOffset(projection: Projection, offset: number): Promise<number> {
  for (;;) {
    const { nextOffset } = await projection.get("/status");
    if (typeof nextOffset === "number" && nextOffset >= offset) return nextOffset;
    await sleep(systemClock, lookMs);
  }
}

/** The view must be what the first events make, however many they are, but `min` at least. Returns how many they are. */
function checkView(t: ExecutionContext, file: string, lines: readonly string[], min: number): number {
  const database = new DatabaseSync(file);
  try {
    const position = database.prepare("SELECT next_offset FROM position").get()!["next_offset"] as number;
    const events = database.prepare("SELECT offset, key, body FROM events ORDER BY offset").all();
    t.is(events.length, position);
    t.true(position >= min, `${position} is less than ${min}, which the projection had reached`);
    const wrong = events.findIndex((event, i) => event["offset"] !== i || event["body"] !== lines[i]);
    t.is(wrong, -1);
    const indexed = database.prepare("SELECT count(*) AS total FROM words_docsize").get()!["total"];
    t.is(indexed, position);
    return position;
  } finally {
    database.close();
  }
}

async function checkSearch(t: ExecutionContext, projection: Projection, lines: readonly string[]): Promise<void> {
  for (const text of words) {
    const found = await projection.get(`/search?q=${encodeURIComponent(text)}&limit=100`);
    const expected = findLines(lines, text);
    t.is(found["total"], expected.size, text);
    const hits = found["hits"] as { offset: number; key: string; body: string }[];
    t.is(hits.length, Math.min(100, expected.size), text);
    for (const { offset, key, body } of hits) {
      if (!expected.has(offset) || (key !== `${offset}` && key !== "last") || body !== lines[offset])
        t.fail(`${text}: ${offset}`);
    }
  }
}

/** The offsets of the events that have all of the words. */
function findLines(lines: readonly string[], text: string): Set<number> {
  const wanted = text.split(" ");
  return new Set(
    lines.flatMap((line, offset) => {
      if (!wanted.every((word) => line.toLowerCase().includes(word))) return [];
      const has = new Set(line.toLowerCase().match(/[\p{L}\p{N}]+/gu));
      return wanted.every((word) => has.has(word)) ? [offset] : [];
    }),
  );
}
