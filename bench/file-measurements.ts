/**
 * Publish and replay on files, beside the bare transport and the bare disk.
 *
 * Two vaults: one takes what is published and replays the newest of it from memory; the other holds a stream that was
 * stored before, and is started anew in each round to replay it from storage.
 */
import { mkdir } from "node:fs/promises";
import path from "node:path";
import type { BenchContext, Measurement } from "./measurement.ts";
import { requestCount, withCpu } from "./measurement.ts";
import { dropPageCache } from "./page-cache.ts";
import { encodeReplayRequest } from "./requests.ts";
import type { Sample } from "./statistics.ts";
import { startVault } from "./vault-process.ts";
import type { VaultProcess } from "./vault-process.ts";
import { startWorker } from "./worker-process.ts";
import type { WorkerProcess } from "./worker-process.ts";
import type { PublishArgs } from "./workers/producer.ts";
import type { RawFileArgs } from "./workers/raw-file.ts";
import type { RecordArgs, ReplayArgs } from "./workers/consumer.ts";
import type { LimitArgs, LoadArgs } from "./workers/limit-server.ts";

/** How much of the tail cache the newest records take that are replayed from it: it also holds what the vault adds. */
const tailShare = 0.7;

/** What a started vault replays of another stream before it is measured, so that its code is compiled. */
const warmUpBytes = 64e6;

/** How much the blasting server sends from memory, in turn. */
const recordedBytesMax = 64 * 1024 * 1024;

/** Prepares everything on files and tells what to measure, in the order of a round. */
export async function prepareFileMeasurements(context: BenchContext): Promise<Measurement[]> {
  const stored = await prepareStoredStream(context);
  const bare = await prepareBareServer(context, stored);
  const live = await prepareLiveVault(context);
  const raw = await prepareRawFile(context);
  return [
    { name: "swallow", run: bare.swallow },
    { name: "raw_page_writes_file", run: raw.write },
    { name: "publish_file", run: live.publish },
    { name: "blast", run: bare.blast },
    { name: "raw_reads_file", run: raw.read },
    { name: "replay_file_cold", run: stored.replayCold },
    { name: "replay_file_page_cache", run: stored.replayAgain },
    { name: "replay_file_warm", run: live.replayTail },
  ];
}

/** Publishes as the settings say; as many requests as carry `bytes`. */
export function publish(context: BenchContext, endpoint: string, stream: string, bytes: number): Promise<Sample> {
  const { batch, recordBytes, producers, window } = context.settings;
  const requests = requestCount(context.settings, bytes);
  const args: PublishArgs = { endpoint, stream, requests, batch, recordBytes, producers, window };
  return context.producer.call("publish", args);
}

/** Reads from an offset to the tail, `calls` times. */
export function replay(context: BenchContext, endpoint: string, stream: string, from = 0n, calls = 1): Promise<Sample> {
  const args: ReplayArgs = { endpoint, request: encodeReplayRequest(stream, from), calls };
  return context.consumer.call("replay", args);
}

interface StoredStream {
  /** Has a running vault's responses for the stored stream written to a file. */
  record(file: string): Promise<void>;
  replayCold(): Promise<Sample>;
  replayAgain(): Promise<Sample>;
}

async function prepareStoredStream(context: BenchContext): Promise<StoredStream> {
  const { stack, settings, profile } = context;
  const directory = path.join(context.directory, "stored");
  const storage = `file:${directory}`;
  context.say("storing what is to be replayed");
  const first = stack.use(await startVault({ storage }));
  await publish(context, first.endpoint, "stored", settings.fileBytes);
  await publish(context, first.endpoint, "warm-up", Math.min(warmUpBytes, settings.fileBytes));
  await first.stop();
  const running: { vault: VaultProcess | undefined } = { vault: undefined };

  async function start(): Promise<VaultProcess> {
    const vault = stack.use(await startVault({ storage, profileDirectory: profile && path.join(profile, "replay") }));
    running.vault = vault;
    await replay(context, vault.endpoint, "warm-up");
    return vault;
  }
  return {
    async record(file) {
      const { endpoint, stop } = await start();
      const request = encodeReplayRequest("stored", 0n);
      const args: RecordArgs = { endpoint, request, calls: 1, file, bytesMax: recordedBytesMax };
      await context.consumer.call("record", args);
      await stop();
    },
    async replayCold() {
      const vault = await start();
      if (!dropPageCache(directory)) context.note("cold: the page cache could not be dropped, so it is not cold");
      return withCpu(vault.pid, () => replay(context, vault.endpoint, "stored"));
    },
    async replayAgain() {
      const vault = running.vault ?? (await start());
      const sample = await withCpu(vault.pid, () => replay(context, vault.endpoint, "stored"));
      await vault.stop();
      return sample;
    },
  };
}

async function prepareBareServer(
  context: BenchContext,
  stored: StoredStream,
): Promise<{ swallow(): Promise<Sample>; blast(): Promise<Sample> }> {
  const { settings, stack } = context;
  const file = path.join(context.directory, "responses");
  await stored.record(file);
  const server = stack.use(startWorker("limit-server"));
  const endpoint = await server.call<string>("listen");
  await server.call("load", { file } satisfies LoadArgs);
  await server.call("setLimit", { bytesPerCall: settings.fileBytes } satisfies LimitArgs);
  return {
    swallow: () => withCpu(server.pid, () => publish(context, endpoint, "swallowed", settings.fileBytes)),
    blast: () => withCpu(server.pid, () => replay(context, endpoint, "blasted")),
  };
}

async function prepareLiveVault(
  context: BenchContext,
): Promise<{ publish(): Promise<Sample>; replayTail(): Promise<Sample> }> {
  const { settings, stack, profile } = context;
  const storage = `file:${path.join(context.directory, "live")}`;
  const profileDirectory = profile && path.join(profile, "publish");
  const vault = stack.use(await startVault({ storage, profileDirectory }));
  if (profile !== undefined) stack.defer(() => vault.stop());
  const { fileBytes, batch } = settings;
  const records = requestCount(settings, fileBytes) * batch;
  const tailRecords = Math.min(records, requestCount(settings, tailShare * settings.tailCacheBytes) * batch);
  const calls = Math.max(1, Math.round(records / tailRecords));
  let round = 0;
  return {
    publish: () => {
      round++;
      return withCpu(vault.pid, () => publish(context, vault.endpoint, `live-${round}`, fileBytes));
    },
    replayTail: () => {
      const from = BigInt(records - tailRecords);
      return withCpu(vault.pid, () => replay(context, vault.endpoint, `live-${round}`, from, calls));
    },
  };
}

async function prepareRawFile(context: BenchContext): Promise<{ write(): Promise<Sample>; read(): Promise<Sample> }> {
  const { settings, stack } = context;
  const directory = path.join(context.directory, "raw");
  await mkdir(directory);
  const worker: WorkerProcess = stack.use(startWorker("raw-file"));
  const { fileBytes, commitBytes, readBytes, readsInFlight } = settings;
  const file = path.join(directory, "segment");
  const bytes = Math.ceil(fileBytes / commitBytes) * commitBytes;
  const shared = { file, bytes, inFlight: readsInFlight };
  return {
    write: () => worker.call("write", { ...shared, chunkBytes: commitBytes } satisfies RawFileArgs),
    read: () => {
      dropPageCache(directory);
      return worker.call("read", { ...shared, chunkBytes: readBytes } satisfies RawFileArgs);
    },
  };
}
