/**
 * One long stream on files: 100 million records of 250 bytes where nothing else is said. It is loaded, the vault is
 * started again, searched at random places, and read from start to end: is the end as fast as the beginning, and what
 * does the vault have in memory?
 */
import path from "node:path";
import { readFreeBytes, readResidentBytes } from "../machine.ts";
import type { BenchContext, BenchSettings, Figures, Group } from "../measurement.ts";
import { dropPageCache } from "../page-cache.ts";
import { encodeReplayRequest, encodeSeekRequest } from "../requests.ts";
import { createRandom, percentilesOf } from "../statistics.ts";
import { startVault } from "../vault-process.ts";
import { startWorker } from "../worker-process.ts";
import type { ReplayArgs, ReplayResult, SeekResult } from "../workers/consumer.ts";
import type { ServeArgs } from "../workers/counted-vault.ts";
import type { PublishArgs, PublishResult } from "../workers/producer.ts";
import { batchLoad, publishFigures } from "./publish.ts";

const stream = "long";

/** What a record takes in storage and in responses, about. */
const storedBytes = 280;

/** How many points of the rates are kept, and of how many of them a tenth consists. */
const marks = 100;
const tenth = marks / 10;

const seeks = 100;
const starts = 5;

/** The load, the start, the seeks, the replay. */
export const scaleGroup: Group = {
  name: "scale",
  fullOnly: true,
  once: true,
  measurements: [
    "scale_load",
    "scale_load_first_tenth",
    "scale_load_last_tenth",
    "scale_start",
    "scale_seek_offset",
    "scale_seek_time",
    "scale_replay",
    "scale_replay_first_tenth",
    "scale_replay_last_tenth",
    "scale_memory",
  ],
  findMissing({ scaleRecords }, directory) {
    const needed = scaleRecords * storedBytes;
    const free = readFreeBytes(directory);
    if (free >= needed) return undefined;
    const missing = `${gigabytes(needed)} in ${directory}, where ${gigabytes(free)} are free`;
    return `scale: ${scaleRecords} records need ${missing}; use --records N for fewer, or --directory PATH for another disk`;
  },
  async prepare(context) {
    const directory = path.join(context.directory, "vault");
    const progress: Progress = { resident: [], load: [], replay: [] };
    const at = (rates: readonly number[], from: number, to: number): Promise<Figures> => {
      const part = rates.slice(from, to);
      // Each point stands for as many bytes, so their times count, not their rates.
      return Promise.resolve({ mbPerSecond: part.length / part.reduce((sum, rate) => sum + 1 / rate, 0) });
    };
    return [
      { name: "scale_load", run: () => load(context, directory, progress) },
      { name: "scale_load_first_tenth", run: () => at(progress.load, 0, tenth) },
      { name: "scale_load_last_tenth", run: () => at(progress.load, marks - tenth, marks) },
      { name: "scale_start", run: () => startAgain(directory) },
      { name: "scale_seek_offset", run: () => seekOffsets(context, directory) },
      { name: "scale_seek_time", run: () => seekTimes(context, directory) },
      { name: "scale_replay", run: () => replayAll(context, directory, progress) },
      { name: "scale_replay_first_tenth", run: () => at(progress.replay, 0, tenth) },
      { name: "scale_replay_last_tenth", run: () => at(progress.replay, marks - tenth, marks) },
      { name: "scale_memory", run: () => Promise.resolve({ residentMib: Math.max(...progress.resident) }) },
    ];
  },
};

/** What one measurement leaves to the next. */
interface Progress {
  /** The most that each vault had resident, in MiB. */
  readonly resident: number[];
  /** MB/s between marks. */
  load: readonly number[];
  replay: readonly number[];
}

function requestsOf({ scaleRecords }: BenchSettings): number {
  return Math.ceil(scaleRecords / batchLoad.batch / marks) * marks;
}

function recordsOf(settings: BenchSettings): number {
  return requestsOf(settings) * batchLoad.batch;
}

async function load(context: BenchContext, directory: string, progress: Progress): Promise<Figures> {
  await using stack = new AsyncDisposableStack();
  const vault = stack.use(await startVault({ storage: `file:${directory}` }));
  const producer = stack.use(startWorker("producer"));
  const requests = requestsOf(context.settings);
  const { endpoint, pid } = vault;
  const markRequests = requests / marks;
  const args: PublishArgs = { ...batchLoad, endpoint, stream, requests, markRequests, seconds: Infinity };
  const result = await producer.call<PublishResult>("publish", args);
  progress.load = ratesOf(result.marksSeconds, result.bytes);
  keepSeries(context, "in", progress.load, result.records);
  const residentMib = noteResident(pid, progress);
  await vault.stop();
  return { ...publishFigures(result, undefined), residentMib };
}

/** The median of several starts, each after an orderly stop; the page cache has what the last one read. */
async function startAgain(directory: string): Promise<Figures> {
  const times: number[] = [];
  for (let i = 0; i < starts; i++) {
    await using vault = await startVault({ storage: `file:${directory}` });
    times.push(vault.startMs);
    await vault.stop();
  }
  return { startMs: percentilesOf(times).p50Ms };
}

async function seekOffsets(context: BenchContext, directory: string): Promise<Figures> {
  await using searched = await startSearched(directory);
  const random = createRandom(1);
  const offsets = Array.from({ length: seeks }, () => BigInt(Math.floor(random() * recordsOf(context.settings))));
  const requests = offsets.map((offset) => encodeSeekRequest(stream, { offset }));
  return await measureSeeks(searched, requests, (found, index) => found.offset === offsets[index]);
}

async function seekTimes(context: BenchContext, directory: string): Promise<Figures> {
  await using searched = await startSearched(directory);
  const random = createRandom(2);
  const last = BigInt(recordsOf(context.settings) - 1);
  const { timestampMs: from } = await searched.seek(encodeSeekRequest(stream, { offset: 0n }));
  const { timestampMs: to } = await searched.seek(encodeSeekRequest(stream, { offset: last }));
  const times = Array.from({ length: seeks }, () => Math.floor(from + random() * (to - from)));
  const requests = times.map((timeMs) => encodeSeekRequest(stream, { timeMs }));
  return await measureSeeks(searched, requests, (found, index) => found.timestampMs >= times[index]!);
}

/** A vault that has the stream open, and whose reads are counted. */
interface Searched extends AsyncDisposable {
  seek(request: Buffer): Promise<SeekResult>;
  countReads(): Promise<number>;
}

async function startSearched(directory: string): Promise<Searched> {
  const stack = new AsyncDisposableStack();
  const vault = stack.use(startWorker("counted-vault"));
  const consumer = stack.use(startWorker("consumer"));
  const endpoint = await vault.call<string>("serve", { directory } satisfies ServeArgs);
  const seek = (request: Buffer) =>
    consumer.call<SeekResult>("seek", { endpoint, request, calls: 1 } satisfies ReplayArgs);
  // The first one opens the stream.
  await seek(encodeSeekRequest(stream, { offset: 0n }));
  dropPageCache(directory);
  return {
    seek,
    countReads: () => vault.call<number>("countReads"),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

async function measureSeeks(
  { seek, countReads }: Searched,
  requests: readonly Buffer[],
  isRight: (found: SeekResult, index: number) => boolean,
): Promise<Figures> {
  const latenciesMs: number[] = [];
  const reads: number[] = [];
  for (const [index, request] of requests.entries()) {
    const before = await countReads();
    const found = await seek(request);
    if (!isRight(found, index)) throw new Error(`seek ${index} found offset ${found.offset}`);
    reads.push((await countReads()) - before);
    latenciesMs.push(found.latencyMs);
  }
  const { p50Ms, p99Ms } = percentilesOf(latenciesMs);
  const readsPerSeek = reads.reduce((sum, count) => sum + count, 0) / reads.length;
  return { p50Ms, p99Ms, readsPerSeek, readsPerSeekMax: Math.max(...reads) };
}

async function replayAll(context: BenchContext, directory: string, progress: Progress): Promise<Figures> {
  await using stack = new AsyncDisposableStack();
  dropPageCache(directory);
  const vault = stack.use(await startVault({ storage: `file:${directory}` }));
  const consumer = stack.use(startWorker("consumer"));
  const records = recordsOf(context.settings);
  // Marks are by bytes, of which only the least is known beforehand: what the last mark leaves over is no tenth.
  const markBytes = Math.floor((records * (batchLoad.recordBytes + 6)) / marks);
  const request = encodeReplayRequest(stream, 0n);
  const args: ReplayArgs = { endpoint: vault.endpoint, request, calls: 1, markBytes };
  const { bytes, seconds, marksSeconds } = await consumer.call<ReplayResult>("replay", args);
  progress.replay = spreadOver(ratesOf(marksSeconds, markBytes * marksSeconds.length), marks);
  keepSeries(context, "out", progress.replay, records);
  const residentMib = noteResident(vault.pid, progress);
  return { mbPerSecond: bytes / 1e6 / seconds, recordsPerSecond: records / seconds, residentMib };
}

/** MB/s between marks that are as many bytes apart. */
function ratesOf(marksSeconds: readonly number[], bytes: number): number[] {
  const megabytes = bytes / 1e6 / marksSeconds.length;
  return marksSeconds.map((at, index) => megabytes / (at - (marksSeconds[index - 1] ?? 0)));
}

/** As many values as asked for, from evenly spread places. */
function spreadOver(values: readonly number[], count: number): number[] {
  return Array.from({ length: count }, (_, i) => values[Math.floor((i * values.length) / count)] ?? Number.NaN);
}

function keepSeries(context: BenchContext, name: string, rates: readonly number[], records: number): void {
  context.keepSeries(
    name,
    rates.map((rate, index) => [((index + 1) / rates.length) * records, Math.round(rate * 10) / 10] as const),
  );
}

function noteResident(pid: number, progress: Progress): number {
  const residentMib = Math.round(readResidentBytes(pid, "VmHWM") / 1024 ** 2);
  progress.resident.push(residentMib);
  return residentMib;
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(1)} GB`;
}
