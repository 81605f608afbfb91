import { mkdtemp, rm } from "node:fs/promises";
import path from "node:path";
import { describeMachine } from "./machine.ts";
import type { Machine } from "./machine.ts";
import type { BenchOptions } from "./options.ts";
import { alignColumns } from "./table.ts";
import { encodePublishRequest, listStreamsPath, publishPath } from "./requests.ts";
import { roundTo, spreadOf } from "./statistics.ts";
import type { Spread } from "./statistics.ts";
import { startVault } from "./vault-process.ts";
import { startWorker } from "./worker-process.ts";
import type { UnaryArgs } from "./workers/consumer.ts";
import type { PublishArgs, PublishResult } from "./workers/producer.ts";

/** How long a vault took, from the start of its process. In milliseconds. */
export interface StartTimes {
  /** Until it told its address. */
  readonly listening: Spread;
  /** Until it had answered ListStreams, and then Publish to one of the streams. */
  readonly firstRead: Spread;
  readonly firstPublish: Spread;
}

/** What was measured of starts. */
export interface StartupReport {
  readonly streams: number;
  readonly storedGb: number;
  /** After an orderly stop, and after SIGKILL. */
  readonly afterStop: StartTimes;
  readonly afterKill: StartTimes;
  readonly machine: Machine;
}

const batch = 1000;
const recordBytes = 250;
const requestBytes = 256_000;

/** Stores streams on files, then starts a vault on them again and again. */
export async function measureStartup(options: BenchOptions, say: (text: string) => void): Promise<StartupReport> {
  await using stack = new AsyncDisposableStack();
  const directory = await mkdtemp(path.join(options.directory, "message-vault-startup-"));
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  const storage = `file:${directory}`;
  const storedBytes = await storeStreams(options, storage, say);
  const orderly = [];
  const killed = [];
  for (let round = 0; round < options.rounds; round++) {
    orderly.push(await measureStart(storage, "SIGKILL"));
    killed.push(await measureStart(storage, "SIGTERM"));
    say(`round ${round + 1} of ${options.rounds}: ${orderly.at(-1)?.listening.toFixed(0)} ms until it listens`);
  }
  return {
    streams: options.streams,
    storedGb: roundTo(storedBytes / 1e9, 3),
    afterStop: summarize(orderly),
    afterKill: summarize(killed),
    machine: describeMachine(),
  };
}

/** In how many milliseconds a vault is to listen. */
const listeningBar = 1000;

/** What is wrong with the report; undefined where nothing is. The fastest start counts: others share the machine. */
export function checkStartup({ afterStop }: StartupReport): string | undefined {
  const { min } = afterStop.listening;
  return min <= listeningBar ? undefined : `it took ${min} ms to listen, the bar is ${listeningBar}`;
}

/** The report as a table. */
export function formatStartup({ streams, storedGb, afterStop, afterKill }: StartupReport): string {
  const row = (title: string, { median, min, max }: Spread) => [title, String(median), `${min} – ${max}`];
  const rows = (title: string, times: StartTimes) => [
    row(`${title}: listening`, times.listening),
    row(`${title}: streams listed`, times.firstRead),
    row(`${title}: first publish answered`, times.firstPublish),
  ];
  const table = [["ms from the start of the process", "median", "min – max"]];
  table.push(...rows("after an orderly stop", afterStop), ...rows("after SIGKILL", afterKill));
  return `${streams} streams with ${storedGb} GB on files\n\n${alignColumns(table)}\n`;
}

async function storeStreams(options: BenchOptions, storage: string, say: (text: string) => void): Promise<number> {
  await using stack = new AsyncDisposableStack();
  const vault = stack.use(await startVault({ storage }));
  const producer = stack.use(startWorker("producer"));
  const requests = Math.max(1, Math.round(options.bytes / options.streams / requestBytes));
  let bytes = 0;
  for (let i = 0; i < options.streams; i++) {
    const args: PublishArgs = {
      endpoint: vault.endpoint,
      stream: streamName(i),
      requests,
      batch,
      recordBytes,
      mode: "pipelined",
      producers: 1,
      connections: 1,
      window: 16,
      seconds: Infinity,
    };
    bytes += (await producer.call<PublishResult>("publish", args)).bytes;
    if ((i + 1) % 100 === 0) say(`${i + 1} of ${options.streams} streams stored`);
  }
  await vault.stop();
  return bytes;
}

function streamName(i: number): string {
  return `stream-${String(i).padStart(6, "0")}`;
}

interface Start {
  readonly listening: number;
  readonly firstRead: number;
  readonly firstPublish: number;
}

/** Starts a vault, uses it, and ends it by `signal`. */
async function measureStart(storage: string, signal: NodeJS.Signals): Promise<Start> {
  await using stack = new AsyncDisposableStack();
  const client = stack.use(startWorker("consumer"));
  // Answered when the worker has loaded its code, which is not to be counted.
  await client.call("ready");
  const startedAt = performance.now();
  const vault = stack.use(await startVault({ storage }));
  const listening = performance.now() - startedAt;
  const list: UnaryArgs = { endpoint: vault.endpoint, path: listStreamsPath, request: Buffer.alloc(0) };
  await client.call("unary", list);
  const firstRead = performance.now() - startedAt;
  const request = encodePublishRequest(streamName(0), 1, recordBytes);
  const publish: UnaryArgs = { endpoint: vault.endpoint, path: publishPath, request };
  await client.call("unary", publish);
  const firstPublish = performance.now() - startedAt;
  await vault.stop(signal);
  return { listening, firstRead, firstPublish };
}

function summarize(starts: readonly Start[]): StartTimes {
  const spread = (pick: (start: Start) => number) => spreadOf(starts.map((start) => Math.round(pick(start))));
  return {
    listening: spread((start) => start.listening),
    firstRead: spread((start) => start.firstRead),
    firstPublish: spread((start) => start.firstPublish),
  };
}
