/** Publish and replay on Azurite, beside the SDK's own page writes and ranged reads. */
import { startAzurite } from "../azurite-process.ts";
import type { Group, Measurement } from "../measurement.ts";
import { pickWanted } from "../measurement.ts";
import { encodeReplayRequest } from "../requests.ts";
import { startVault } from "../vault-process.ts";
import { startWorker } from "../worker-process.ts";
import type { RawAzureReadArgs, RawAzureWriteArgs } from "../workers/raw-azure.ts";
import { batchLoad, publish } from "./publish.ts";
import { replay } from "./replay.ts";

const container = "bench";

/** How much longer than on files is measured: there are few commits in a second. */
const secondsFactor = 1.5;

/** Commits of 4 MiB beside raw Put Page, and what was just published read from storage beside raw ranged reads. */
export const azuriteGroup: Group = {
  name: "azurite",
  measurements: ["raw_put_page_azurite", "publish_azurite", "raw_reads_azurite", "replay_azurite"],
  async prepare(context) {
    const { settings, stack, wanted } = context;
    context.say("starting Azurite");
    const { connectionString, version } = stack.use(await startAzurite());
    context.note(`Azurite ${version}, in memory`);
    const worker = stack.use(startWorker("raw-azure"));
    const producer = stack.use(startWorker("producer"));
    const consumer = stack.use(startWorker("consumer"));
    // Caches as small as they may be: what was just published is to be read from storage.
    const caches = ["--tail-cache-bytes", "1MiB", "--read-cache-bytes", "4MiB"];
    const segments = ["--segment-bytes", String(settings.segmentBytesAzurite)];
    const storage = `${connectionString}Container=vault`;
    const vault = stack.use(await startVault({ storage, args: ["--create-container", ...segments, ...caches] }));
    const { endpoint, pid } = vault;
    const { commitBytes, readBytes, readsInFlight } = settings;
    const seconds = settings.seconds * secondsFactor;
    let round = 0;
    const blob = () => ({ connectionString, container, blob: `raw-${round}` });
    const write = () => {
      const args: RawAzureWriteArgs = { ...blob(), chunkBytes: commitBytes, seconds };
      return worker.call<{ bytes: number; seconds: number }>("write", args);
    };
    const rate = (result: { bytes: number; seconds: number }) => {
      return { mbPerSecond: result.bytes / 1e6 / result.seconds };
    };
    // Reads read what the writes of their round wrote.
    const reads = [...wanted].some((name) => /^(raw_reads|replay)/.test(name));
    const measurements: Measurement[] = [
      {
        name: "raw_put_page_azurite",
        run: async () => {
          round++;
          return rate(await write());
        },
      },
      { name: "publish_azurite", run: () => publish(producer, pid, endpoint, `stream-${round}`, seconds, batchLoad) },
      {
        name: "raw_reads_azurite",
        run: async () => {
          const args: RawAzureReadArgs = { ...blob(), chunkBytes: readBytes, inFlight: readsInFlight };
          const result = await worker.call<{ bytes: number; seconds: number }>("read", args);
          await worker.call("remove", blob());
          return rate(result);
        },
      },
      {
        name: "replay_azurite",
        run: () => replay(consumer, pid, { endpoint, request: encodeReplayRequest(`stream-${round}`, 0n), calls: 1 }),
      },
    ];
    return reads ? measurements : pickWanted(context, measurements);
  },
};
