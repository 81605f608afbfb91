/**
 * What telemetry costs: the same loads on a vault without it and on one with metrics and 1 % of traces, both exported by
 * OTLP to a server that swallows them. Every record carries a trace of its own, of which 1 % are sampled; so do single
 * publishes, by the sampler. What counts is the processor time of the server for each record.
 */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import type { BenchContext, Group, Measurement } from "../measurement.ts";
import { pickWanted } from "../measurement.ts";
import { encodeReplayRequest } from "../requests.ts";
import { startVault } from "../vault-process.ts";
import { startWorker } from "../worker-process.ts";
import type { PublishArgs } from "../workers/producer.ts";
import { batchLoad, publish, singleLoad } from "./publish.ts";
import { replay } from "./replay.ts";

/** What is replayed, from the tail cache: so much of it that it stays there. */
const tailBytes = 14e6;

const loads = ["publish", "single", "replay"] as const;

/**
 * How long each vault takes single publishes before anything counts: what one goes through is compiled by then, of which
 * there is more with telemetry.
 */
const warmUpSeconds = 10;

/** Without telemetry, and with it. */
export const telemetryGroup: Group = {
  name: "telemetry",
  fullOnly: true,
  measurements: loads.flatMap((load) => [`telemetry_off_${load}`, `telemetry_on_${load}`]),
  async prepare(context) {
    const endpoint = await startSwallower(context);
    const off = await prepareVault(context, "off", {});
    const on = await prepareVault(context, "on", {
      OTEL_EXPORTER_OTLP_ENDPOINT: endpoint,
      OTEL_TRACES_SAMPLER: "parentbased_traceidratio",
      OTEL_TRACES_SAMPLER_ARG: "0.01",
    });
    return pickWanted(
      context,
      loads.flatMap((_, i) => [off[i]!, on[i]!]),
    );
  },
};

async function prepareVault(
  { stack, settings, directory, profile, wanted }: BenchContext,
  name: string,
  environment: Readonly<Record<string, string>>,
): Promise<Measurement[]> {
  const storage = `file:${path.join(directory, name)}`;
  const profileDirectory = profile && path.join(profile, `telemetry-${name}`);
  const vault = stack.use(await startVault({ storage, environment, profileDirectory }));
  if (profile !== undefined) stack.defer(() => vault.stop());
  const producer = stack.use(startWorker("producer"));
  const consumer = stack.use(startWorker("consumer"));
  const { pid, endpoint } = vault;
  const traced = { ...batchLoad, traced: true };
  if (wanted.has(`telemetry_${name}_single`))
    await publish(producer, pid, endpoint, "single", warmUpSeconds, singleLoad);
  const requests = Math.ceil(tailBytes / (batchLoad.batch * (batchLoad.recordBytes + 80)));
  let round = 0;
  return [
    {
      name: `telemetry_${name}_publish`,
      run: () => publish(producer, pid, endpoint, `batches-${round++}`, settings.seconds, traced),
    },
    {
      name: `telemetry_${name}_single`,
      run: () => publish(producer, pid, endpoint, "single", settings.seconds, singleLoad),
    },
    {
      name: `telemetry_${name}_replay`,
      async run() {
        // Each time anew: what was published meanwhile has taken its place in the cache.
        const stream = `tail-${round++}`;
        const stored: PublishArgs = { ...traced, endpoint, stream, requests, seconds: Infinity };
        await producer.call("publish", stored);
        const calls = Math.max(1, Math.round(settings.storedBytes / tailBytes));
        return replay(consumer, pid, { endpoint, request: encodeReplayRequest(stream, 0n), calls });
      },
    },
  ];
}

/** A server that takes whatever is exported to it. */
async function startSwallower({ stack }: BenchContext): Promise<string> {
  const server = createServer((request, response) => {
    request.resume().on("end", () => response.end());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  stack.defer(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
