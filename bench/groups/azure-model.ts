/**
 * Publish and replay on the model of Azure (src/blob/modelled-azure.ts): what a page blob and an account allow is known
 * there, so that the limits are numbers. Each measurement starts a vault of its own, which tells at its end what storage
 * was asked for.
 */
import path from "node:path";
import type { BenchContext, Figures, Group } from "../measurement.ts";
import { pickWanted } from "../measurement.ts";
import { encodeReplayRequest } from "../requests.ts";
import { startVault } from "../vault-process.ts";
import type { LoggedEvent, VaultProcess } from "../vault-process.ts";
import { startWorker } from "../worker-process.ts";
import type { WorkerProcess } from "../worker-process.ts";
import type { PublishLoad } from "./publish.ts";
import { batchLoad, publish } from "./publish.ts";
import { replay } from "./replay.ts";

/** How much longer than on files is measured, and for how long, by that measure, loaded before: buckets start full. */
const secondsFactor = 3;
const warmUpFactor = 1;

/** One segment for all, so that it is one page blob's limit that counts. */
const oneSegment = ["--segment-bytes", "4GiB"];

const sixteenStreams: PublishLoad = { ...batchLoad, streams: 16 };

/** Events of 300 bytes over so many streams, ten in a request, as fast as they are stored. */
function eventsOver(streams: number): PublishLoad {
  const events = { batch: 10, recordBytes: 300, mode: "pipelined" } as const;
  return { ...events, streams, producers: Math.max(streams, 10), connections: 4, window: 64 };
}

/** Ten events in each: 10,000 a second. */
const requestsPerSecond = 1000;

/** The loads of docs/capacity.md, with the vault's arguments. */
const eventLoads: readonly (readonly [name: string, load: PublishLoad, args?: readonly string[]])[] = [
  ["events_over_1_stream", { ...eventsOver(1), requestsPerSecond }],
  ["events_over_10_streams", { ...eventsOver(10), requestsPerSecond }],
  ["events_over_100_streams", { ...eventsOver(100), requestsPerSecond }],
  ["events_over_100_streams_linger", { ...eventsOver(100), requestsPerSecond }, ["--linger-ms", "500"]],
  ["events_over_1000_streams", { ...eventsOver(1000), requestsPerSecond }],
  ["events_flat_out", eventsOver(100)],
];

/** One stream and sixteen, as fast as they are stored. */
export const azureModelGroup: Group = {
  name: "azure_model",
  measurements: ["publish_azure_model", "swallow_16", "publish_memory_16", "publish_azure_model_16"],
  async prepare(context) {
    const { stack, settings } = context;
    const producer = stack.use(startWorker("producer"));
    const bare = stack.use(startWorker("limit-server"));
    const bareEndpoint = await bare.call<string>("listen");
    const seconds = settings.seconds * secondsFactor;
    return pickWanted(context, [
      { name: "publish_azure_model", run: () => publishOnModel(context, producer, batchLoad, seconds, oneSegment) },
      {
        name: "swallow_16",
        run: () => publish(producer, bare.pid, bareEndpoint, "swallowed", settings.seconds, sixteenStreams),
      },
      { name: "publish_memory_16", run: () => publishInMemory(context, producer, sixteenStreams, seconds) },
      { name: "publish_azure_model_16", run: () => publishOnModel(context, producer, sixteenStreams, seconds) },
    ]);
  },
};

/** Replay from one page blob, and the loads of docs/capacity.md. */
export const capacityGroup: Group = {
  name: "capacity",
  fullOnly: true,
  measurements: ["replay_azure_model", ...eventLoads.map(([name]) => name)],
  async prepare(context) {
    const { stack, settings } = context;
    const producer = stack.use(startWorker("producer"));
    const consumer = stack.use(startWorker("consumer"));
    const seconds = settings.seconds * secondsFactor * 2;
    return pickWanted(context, [
      { name: "replay_azure_model", run: () => replayOnModel(context, producer, consumer) },
      ...eventLoads.map(([name, load, args]) => ({
        name,
        run: () => publishOnModel(context, producer, load, seconds, args),
      })),
    ]);
  },
};

interface ModelledVault {
  readonly vault: VaultProcess;
  /** Ends the vault; resolves to what its storage was asked for. */
  stop(): Promise<ModelCounts>;
}

interface ModelCounts {
  readonly requests: number;
  readonly throttled: number;
}

async function startOnModel({ stack, profile }: BenchContext, args: readonly string[]): Promise<ModelledVault> {
  const events: LoggedEvent[] = [];
  const startedAt = performance.now();
  const onLog = (event: LoggedEvent) => void events.push(event);
  const profileDirectory = profile && path.join(profile, "azure-model");
  const vault = stack.use(await startVault({ storage: "memory:azure", args, onLog, profileDirectory }));
  return {
    vault,
    async stop() {
      const seconds = (performance.now() - startedAt) / 1000;
      await vault.stop();
      const told = events.find(({ event }) => event === "modelled storage was asked for");
      if (told === undefined) throw new Error("the vault did not tell what its storage was asked for");
      const { requests, throttled } = told as unknown as ModelCounts;
      if (requests < seconds) throw new Error(`storage was asked for ${requests} times only`);
      return { requests, throttled };
    },
  };
}

async function publishOnModel(
  context: BenchContext,
  producer: WorkerProcess,
  load: PublishLoad,
  seconds: number,
  args: readonly string[] = [],
): Promise<Figures> {
  const { vault, stop } = await startOnModel(context, args);
  const warmUpSeconds = context.settings.seconds * warmUpFactor;
  const startedAt = performance.now();
  await publish(producer, vault.pid, vault.endpoint, "s", warmUpSeconds, load);
  const figures = await publish(producer, vault.pid, vault.endpoint, "s", seconds, load);
  const loadedSeconds = (performance.now() - startedAt) / 1000;
  const { requests, throttled } = await stop();
  return { ...figures, throttledShare: throttled / requests, storageRequestsPerSecond: requests / loadedSeconds };
}

/** The same where storage costs nothing. */
async function publishInMemory(
  context: BenchContext,
  producer: WorkerProcess,
  load: PublishLoad,
  seconds: number,
): Promise<Figures> {
  const { endpoint, pid, stop } = context.stack.use(await startVault({ storage: "memory:" }));
  await publish(producer, pid, endpoint, "s", context.settings.seconds * warmUpFactor, load);
  const figures = await publish(producer, pid, endpoint, "s", seconds, load);
  await stop();
  return figures;
}

async function replayOnModel(
  context: BenchContext,
  producer: WorkerProcess,
  consumer: WorkerProcess,
): Promise<Figures> {
  const caches = ["--tail-cache-bytes", "1MiB", "--read-cache-bytes", "4MiB"];
  const { vault, stop } = await startOnModel(context, [...oneSegment, ...caches]);
  const { endpoint, pid } = vault;
  await publish(producer, pid, endpoint, "s", context.settings.seconds * secondsFactor, batchLoad);
  const figures = await replay(consumer, pid, { endpoint, request: encodeReplayRequest("s", 0n), calls: 1 });
  const { requests, throttled } = await stop();
  return { ...figures, throttledShare: throttled / requests };
}
