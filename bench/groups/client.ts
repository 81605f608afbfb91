/**
 * The TypeScript client beside raw requests with the same batches, over one connection to the same vault. The client
 * encodes and decodes every record while the clock runs; the raw load sends requests that are ready, and looks at none.
 */
import path from "node:path";
import type { Figures, Group } from "../measurement.ts";
import { pickWanted, withCpu } from "../measurement.ts";
import { encodeReplayRequest } from "../requests.ts";
import { startVault } from "../vault-process.ts";
import { startWorker } from "../worker-process.ts";
import type { WorkerProcess } from "../worker-process.ts";
import type { ClientPublishArgs, ClientPublishResult, ClientReplayArgs } from "../workers/client-load.ts";
import type { ReplayArgs } from "../workers/consumer.ts";
import type { PublishArgs, PublishResult } from "../workers/producer.ts";

const load = { batch: 1000, recordBytes: 250, window: 32 } as const;

/** How much is replayed from the tail cache, as often as it takes. */
const tailBytes = 40e6;

/** Publish, and replay in batches and record by record. */
export const clientGroup: Group = {
  name: "client",
  measurements: ["raw_publish_one", "client_publish", "raw_replay_one", "client_replay", "client_replay_each"],
  async prepare(context) {
    const { stack, settings, directory } = context;
    const producer = stack.use(startWorker("producer"));
    const consumer = stack.use(startWorker("consumer"));
    const client = stack.use(startWorker("client-load"));
    const { endpoint } = stack.use(await startVault({ storage: `file:${path.join(directory, "client")}` }));
    const { seconds } = settings;
    const raw = { ...load, endpoint, mode: "pipelined", producers: 1, connections: 1 } as const;
    let round = 0;

    const requests = Math.ceil(tailBytes / (load.batch * load.recordBytes));
    const stored: PublishArgs = { ...raw, stream: "replayed", requests, seconds: Infinity };
    await producer.call<PublishResult>("publish", stored);
    const calls = Math.max(1, Math.round(settings.storedBytes / tailBytes));
    const reading = { endpoint, stream: "replayed", fromOffset: 0n, calls };

    return pickWanted(context, [
      {
        name: "raw_publish_one",
        async run() {
          const args: PublishArgs = { ...raw, stream: `raw-${round++}`, seconds };
          return measure(producer, "publish", args);
        },
      },
      {
        name: "client_publish",
        async run() {
          const args: ClientPublishArgs = { ...load, endpoint, stream: `client-${round++}`, seconds };
          return measure(client, "publish", args);
        },
      },
      {
        name: "raw_replay_one",
        async run() {
          const args: ReplayArgs = { endpoint, request: encodeReplayRequest("replayed", 0n), calls };
          return measure(consumer, "replay", args);
        },
      },
      ...(["batch", "record"] as const).map((by) => ({
        name: by === "batch" ? "client_replay" : "client_replay_each",
        async run() {
          const args: ClientReplayArgs = { ...reading, by };
          return measure(client, "replay", args);
        },
      })),
    ]);
  },
};

/** Has a load generator run, and tells how fast that was and what processor time the generator itself took. */
async function measure(worker: WorkerProcess, command: string, args: object): Promise<Figures> {
  const [{ bytes, records, seconds }, cpuSeconds] = await withCpu(worker.pid, () =>
    worker.call<ClientPublishResult>(command, args),
  );
  return {
    mbPerSecond: bytes / 1e6 / seconds,
    ...(records > 0 && { recordsPerSecond: records / seconds }),
    ...(cpuSeconds !== undefined && { cpuSecondsPerGb: cpuSeconds / (bytes / 1e9) }),
  };
}
