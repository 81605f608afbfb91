/**
 * Replay on files, beside a bare server that blasts the same responses and the bare disk.
 *
 * Two vaults: one holds a stream that was stored before, and is started anew in each round to replay it from storage;
 * the other keeps running, and replays the newest of a stream from its tail cache.
 */
import { mkdir } from "node:fs/promises";
import path from "node:path";
import type { BenchContext, Figures, Group, Measurement } from "../measurement.ts";
import { pickWanted, withCpu } from "../measurement.ts";
import { dropPageCache } from "../page-cache.ts";
import { encodeReplayRequest } from "../requests.ts";
import { startVault } from "../vault-process.ts";
import type { VaultProcess } from "../vault-process.ts";
import { startWorker } from "../worker-process.ts";
import type { WorkerProcess } from "../worker-process.ts";
import type { LimitArgs, LoadArgs } from "../workers/limit-server.ts";
import type { RecordArgs, ReplayArgs, ReplayResult } from "../workers/consumer.ts";
import type { PublishArgs, PublishResult } from "../workers/producer.ts";
import type { RawReadArgs, RawResult } from "../workers/raw-file.ts";
import { batchLoad } from "./publish.ts";

/** How much of the tail cache the newest records take that are replayed from it: it also holds what the vault adds. */
const tailShare = 0.7;

/** What a started vault replays of another stream before it is measured, so that its code is compiled. */
const warmUpBytes = 64e6;

/** How much the blasting server sends from memory, in turn. */
const recordedBytesMax = 64 * 1024 * 1024;

/** How many consumers read at once, beside one. */
const crowds = [4, 16] as const;

/** The names of the measurements where `count` consumers read at once. */
function crowdNames(count: number): string[] {
  return [`blast_${count}`, `replay_file_warm_${count}`, `replay_file_cold_${count}`];
}

/** Cold, from the page cache and warm; decoded; by several at once. */
export const replayGroup: Group = {
  name: "replay",
  measurements: ["blast", "raw_reads_file", "replay_file_cold", "replay_file_page_cache", "replay_file_warm"],
  async prepare(context) {
    const load = await prepareLoad(context);
    const stored = await prepareStoredVault(context, load);
    const live = await prepareLiveVault(context, load);
    const rawRead = await prepareRawReads(context);
    const blast = await prepareBlast(context, load, stored);
    return pickWanted(context, [
      { name: "blast", run: () => blast({}) },
      { name: "raw_reads_file", run: rawRead },
      { name: "replay_file_cold", run: () => stored.replayCold({}) },
      { name: "replay_file_page_cache", run: () => stored.replayAgain({}) },
      { name: "replay_file_warm", run: () => live.replayTail({}) },
    ]);
  },
};

/** Decoded, by several at once, and while others publish. */
export const replayMoreGroup: Group = {
  name: "replay_more",
  fullOnly: true,
  measurements: [
    "blast_decoded",
    "replay_file_warm_decoded",
    ...crowds.flatMap(crowdNames),
    "blast_while_swallowing",
    "replay_file_while_publishing",
  ],
  async prepare(context) {
    const load = await prepareLoad(context);
    const stored = await prepareStoredVault(context, load);
    const live = await prepareLiveVault(context, load);
    const blast = await prepareBlast(context, load, stored);
    const crowded = crowds.flatMap((consumers): Measurement[] => {
      const [blastName, warmName, coldName] = crowdNames(consumers) as [string, string, string];
      return [
        { name: blastName, run: () => blast({ consumers }) },
        { name: warmName, run: () => live.replayTail({ consumers }) },
        { name: coldName, run: () => stored.replayCold({ consumers }) },
      ];
    });
    return pickWanted(context, [
      { name: "blast_decoded", run: () => blast({ decode: true }) },
      { name: "replay_file_warm_decoded", run: () => live.replayTail({ decode: true }) },
      ...crowded,
      { name: "blast_while_swallowing", run: () => blast({ publishing: true }) },
      { name: "replay_file_while_publishing", run: () => live.replayTail({ publishing: true }) },
    ]);
  },
};

/** How a stream is read. */
interface Reading {
  readonly consumers?: number;
  readonly decode?: boolean;
  /** Whether another stream is published to meanwhile, at half the speed that is reached alone. */
  readonly publishing?: boolean;
}

interface ReplayLoad {
  readonly producer: WorkerProcess;
  readonly consumer: WorkerProcess;
}

async function prepareLoad({ stack }: BenchContext): Promise<ReplayLoad> {
  return { producer: stack.use(startWorker("producer")), consumer: stack.use(startWorker("consumer")) };
}

/** Publishes so many bytes to a stream; tells how many records that were. */
async function store({ producer }: ReplayLoad, endpoint: string, stream: string, bytes: number): Promise<number> {
  const requests = Math.ceil(bytes / (batchLoad.batch * (batchLoad.recordBytes + 6)));
  const args: PublishArgs = { ...batchLoad, endpoint, stream, requests, seconds: Infinity };
  return (await producer.call<PublishResult>("publish", args)).records;
}

/** Reads, and tells how that went; `pid` is the process whose processor time counts. */
export async function replay(consumer: WorkerProcess, pid: number, args: ReplayArgs): Promise<Figures> {
  const [result, cpuSeconds] = await withCpu(pid, () => consumer.call<ReplayResult>("replay", args));
  const { bytes, seconds, records } = result;
  return {
    mbPerSecond: bytes / 1e6 / seconds,
    ...(records > 0 && { recordsPerSecond: records / seconds }),
    ...(cpuSeconds !== undefined && { cpuSecondsPerGb: cpuSeconds / (bytes / 1e9) }),
  };
}

interface StoredVault {
  /** Has a running vault's responses for the stored stream written to a file. */
  record(file: string): Promise<void>;
  replayCold(reading: Reading): Promise<Figures>;
  replayAgain(reading: Reading): Promise<Figures>;
}

async function prepareStoredVault(context: BenchContext, load: ReplayLoad): Promise<StoredVault> {
  const { stack, settings, profile } = context;
  const { consumer } = load;
  const directory = path.join(context.directory, "stored");
  const storage = `file:${directory}`;
  context.say("storing what is to be replayed");
  const first = stack.use(await startVault({ storage }));
  const records = await store(load, first.endpoint, "stored", settings.storedBytes);
  await store(load, first.endpoint, "warm-up", Math.min(warmUpBytes, settings.storedBytes));
  await first.stop();
  const running: { vault: VaultProcess | undefined } = { vault: undefined };

  async function start(): Promise<VaultProcess> {
    await running.vault?.stop();
    const vault = stack.use(await startVault({ storage, profileDirectory: profile && path.join(profile, "replay") }));
    running.vault = vault;
    await replay(consumer, vault.pid, {
      endpoint: vault.endpoint,
      request: encodeReplayRequest("warm-up", 0n),
      calls: 1,
    });
    return vault;
  }
  const read = (vault: VaultProcess, reading: Reading) => {
    const { endpoint, pid } = vault;
    // Several at once read as many bytes in all as one does: the end of the stream.
    const from = BigInt(records - Math.floor(records / (reading.consumers ?? 1)));
    return replay(consumer, pid, { endpoint, request: encodeReplayRequest("stored", from), calls: 1, ...reading });
  };
  return {
    async record(file) {
      const { endpoint } = await start();
      const request = encodeReplayRequest("stored", 0n);
      const args: RecordArgs = { endpoint, request, calls: 1, file, bytesMax: recordedBytesMax };
      await consumer.call("record", args);
    },
    async replayCold(reading) {
      const vault = await start();
      if (!dropPageCache(directory)) context.note("cold: the page cache could not be dropped, so it is not cold");
      return read(vault, reading);
    },
    async replayAgain(reading) {
      return read(running.vault ?? (await start()), reading);
    },
  };
}

async function prepareLiveVault(
  context: BenchContext,
  load: ReplayLoad,
): Promise<{ replayTail(reading: Reading): Promise<Figures> }> {
  const { settings, stack, profile } = context;
  const storage = `file:${path.join(context.directory, "live")}`;
  const profileDirectory = profile && path.join(profile, "tail");
  const vault = stack.use(await startVault({ storage, profileDirectory }));
  if (profile !== undefined) stack.defer(() => vault.stop());
  const { tailCacheBytes, storedBytes } = settings;
  const tailBytes = Math.min(storedBytes, tailShare * tailCacheBytes);
  let records = 0;
  return {
    async replayTail({ publishing = false, ...reading }) {
      // Each time anew: what others published meanwhile has taken the place of the newest in the cache.
      const tail = await store(load, vault.endpoint, "live", tailBytes);
      records += tail;
      const request = encodeReplayRequest("live", BigInt(records - tail));
      const calls = Math.max(1, Math.round(storedBytes / tailBytes / (reading.consumers ?? 1)));
      const args = { endpoint: vault.endpoint, request, calls, ...reading };
      const other = publishing ? await publishAtHalfSpeed(context, load, vault.endpoint) : undefined;
      const figures = await replay(load.consumer, vault.pid, args);
      await other?.ended;
      return figures;
    },
  };
}

/** What a stream is published to meanwhile is a part of what it is published to alone. */
const halfSpeedSeconds = 1;

/** Publishes at half the speed that is reached alone, for as long as a replay takes, about. */
async function publishAtHalfSpeed(
  { settings }: BenchContext,
  { producer }: ReplayLoad,
  endpoint: string,
): Promise<{ ended: Promise<unknown> }> {
  const args = { ...batchLoad, endpoint, stream: "meanwhile" };
  const alone = await producer.call<PublishResult>("publish", { ...args, seconds: halfSpeedSeconds });
  const requestsPerSecond = alone.requests / alone.seconds / 2;
  const half: PublishArgs = { ...args, seconds: settings.seconds, requestsPerSecond };
  return { ended: producer.call<PublishResult>("publish", half) };
}

async function prepareBlast(
  context: BenchContext,
  load: ReplayLoad,
  stored: StoredVault,
): Promise<(reading: Reading) => Promise<Figures>> {
  const { settings, stack } = context;
  const file = path.join(context.directory, "responses");
  await stored.record(file);
  const server = stack.use(startWorker("limit-server"));
  const endpoint = await server.call<string>("listen");
  await server.call("load", { file } satisfies LoadArgs);
  return async ({ publishing = false, ...reading }) => {
    const bytesPerCall = Math.ceil(settings.storedBytes / (reading.consumers ?? 1));
    await server.call("setLimit", { bytesPerCall } satisfies LimitArgs);
    const other = publishing ? await publishAtHalfSpeed(context, load, endpoint) : undefined;
    const figures = await replay(load.consumer, server.pid, {
      endpoint,
      request: encodeReplayRequest("blasted", 0n),
      calls: 1,
      ...reading,
    });
    await other?.ended;
    return figures;
  };
}

async function prepareRawReads({ settings, stack, directory }: BenchContext): Promise<() => Promise<Figures>> {
  const raw = path.join(directory, "raw");
  await mkdir(raw, { recursive: true });
  const worker = stack.use(startWorker("raw-file"));
  const file = path.join(raw, "stored");
  await worker.call("fill", { file, bytes: settings.storedBytes, chunkBytes: settings.readBytes });
  const args: RawReadArgs = { file, chunkBytes: settings.readBytes, inFlight: settings.readsInFlight };
  return async () => {
    dropPageCache(raw);
    const { bytes, seconds } = await worker.call<RawResult>("read", args);
    return { mbPerSecond: bytes / 1e6 / seconds };
  };
}
