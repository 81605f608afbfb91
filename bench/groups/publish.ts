/** Publish on files, beside a bare server that swallows the same requests and the bare disk. */
import { mkdir } from "node:fs/promises";
import path from "node:path";
import type { BenchContext, Figures, Group } from "../measurement.ts";
import { pickWanted, withCpu } from "../measurement.ts";
import { startVault } from "../vault-process.ts";
import { startWorker } from "../worker-process.ts";
import type { WorkerProcess } from "../worker-process.ts";
import type { PublishArgs, PublishResult } from "../workers/producer.ts";
import type { RawFileArgs } from "../workers/raw-file.ts";

/** How a load publishes; where and for how long apart. */
export type PublishLoad = Omit<PublishArgs, "endpoint" | "stream" | "seconds">;

/** The load of `publish_file`: batches of 1,000 from 16 producers, a connection each. */
export const batchLoad: PublishLoad = {
  batch: 1000,
  recordBytes: 250,
  mode: "pipelined",
  producers: 16,
  connections: 16,
  window: 4,
};

/** The load of `publish_single`: 64 unary calls in flight, over four connections. */
export const singleLoad: PublishLoad = {
  batch: 1,
  recordBytes: 250,
  mode: "unary",
  producers: 64,
  connections: 4,
  window: 1,
};

/** Batches of 1,000, and single records. */
export const publishGroup: Group = {
  name: "publish",
  measurements: ["swallow", "raw_page_writes_file", "publish_file", "swallow_single", "publish_single"],
  async prepare(context) {
    const { stack, settings, profile, wanted, directory } = context;
    const producer = stack.use(startWorker("producer"));
    const bare = stack.use(startWorker("limit-server"));
    const bareEndpoint = await bare.call<string>("listen");
    const profileDirectory = profile && path.join(profile, "publish");
    const vault = stack.use(await startVault({ storage: `file:${path.join(directory, "vault")}`, profileDirectory }));
    if (profile !== undefined) stack.defer(() => vault.stop());
    const rawWrite = wanted.has("raw_page_writes_file") ? await prepareRawWrites(context) : undefined;
    let round = 0;
    return pickWanted(context, [
      {
        name: "swallow",
        run: () => publish(producer, bare.pid, bareEndpoint, "swallowed", settings.seconds, batchLoad),
      },
      { name: "raw_page_writes_file", run: () => rawWrite!() },
      {
        name: "publish_file",
        run: () => publish(producer, vault.pid, vault.endpoint, `batches-${round++}`, settings.seconds, batchLoad),
      },
      {
        name: "swallow_single",
        run: () => publish(producer, bare.pid, bareEndpoint, "swallowed", settings.seconds, singleLoad),
      },
      {
        name: "publish_single",
        run: () => publish(producer, vault.pid, vault.endpoint, "single", settings.seconds, singleLoad),
      },
    ]);
  },
};

/**
 * Publishes for about `seconds` to whatever listens at `endpoint`, and tells how that went; `pid` is the process whose
 * processor time counts.
 */
export async function publish(
  producer: WorkerProcess,
  pid: number,
  endpoint: string,
  stream: string,
  seconds: number,
  load: PublishLoad,
): Promise<Figures> {
  const args: PublishArgs = { ...load, endpoint, stream, seconds };
  const [result, cpuSeconds] = await withCpu(pid, () => producer.call<PublishResult>("publish", args));
  return publishFigures(result, cpuSeconds);
}

/** The figures of a load. */
export function publishFigures(result: PublishResult, cpuSeconds: number | undefined): Figures {
  const { bytes, records, requests, refused, seconds, p50Ms, p99Ms, p999Ms } = result;
  return {
    mbPerSecond: bytes / 1e6 / seconds,
    recordsPerSecond: records / seconds,
    p50Ms,
    p99Ms,
    p999Ms,
    ...(refused > 0 && { refusedShare: refused / (requests + refused) }),
    ...(cpuSeconds !== undefined && { cpuSecondsPerMillion: cpuSeconds / (records / 1e6) }),
  };
}

/** Prepares writes of the largest commit's size, each synced, in a file next to the vault's. */
async function prepareRawWrites({ stack, settings, directory }: BenchContext): Promise<() => Promise<Figures>> {
  const raw = path.join(directory, "raw");
  await mkdir(raw);
  const worker = stack.use(startWorker("raw-file"));
  const args = { file: path.join(raw, "segment"), chunkBytes: settings.commitBytes, seconds: settings.seconds };
  return async () => {
    const { bytes, seconds } = await worker.call<{ bytes: number; seconds: number }>(
      "write",
      args satisfies RawFileArgs,
    );
    return { mbPerSecond: bytes / 1e6 / seconds };
  };
}
