/** Publish and replay on Azurite, beside the SDK's own page writes and ranged reads. */
import { startAzurite } from "./azurite-process.ts";
import { publish, replay } from "./file-measurements.ts";
import type { BenchContext, Measurement } from "./measurement.ts";
import { withCpu } from "./measurement.ts";
import { startVault } from "./vault-process.ts";
import { startWorker } from "./worker-process.ts";
import type { RawAzureArgs } from "./workers/raw-azure.ts";

const container = "bench";

/** Starts Azurite and a vault on it, and tells what to measure, in the order of a round. */
export async function prepareAzuriteMeasurements(context: BenchContext): Promise<Measurement[]> {
  const { settings, stack } = context;
  context.say("starting Azurite");
  const { connectionString, version } = stack.use(await startAzurite());
  context.note(`Azurite ${version}, in memory`);
  const worker = stack.use(startWorker("raw-azure"));
  // Caches as small as they may be: what was just published is to be read from storage.
  const caches = ["--tail-cache-bytes", "1MiB", "--read-cache-bytes", "4MiB"];
  const vault = stack.use(
    await startVault({
      storage: `${connectionString}Container=vault`,
      args: ["--create-container", "--segment-bytes", String(settings.segmentBytesAzurite), ...caches],
    }),
  );
  const { azuriteBytes, commitBytes, readBytes, readsInFlight } = settings;
  const bytes = Math.ceil(azuriteBytes / commitBytes) * commitBytes;
  let round = 0;
  const raw = (chunkBytes: number): RawAzureArgs => {
    return { connectionString, container, blob: `raw-${round}`, bytes, chunkBytes, inFlight: readsInFlight };
  };
  return [
    {
      name: "raw_put_page_azurite",
      run: () => {
        round++;
        return worker.call("write", raw(commitBytes));
      },
    },
    {
      name: "publish_azurite",
      run: () => withCpu(vault.pid, () => publish(context, vault.endpoint, `stream-${round}`, azuriteBytes)),
    },
    {
      name: "raw_reads_azurite",
      run: async () => {
        const sample = await worker.call<{ bytes: number; seconds: number }>("read", raw(readBytes));
        await worker.call("remove", raw(readBytes));
        return sample;
      },
    },
    {
      name: "replay_azurite",
      run: () => withCpu(vault.pid, () => replay(context, vault.endpoint, `stream-${round}`)),
    },
  ];
}
