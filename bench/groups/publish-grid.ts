/** Publish on files over sizes, batches, producers and modes, each beside a bare server that swallows the same. */
import path from "node:path";
import type { Group, Measurement } from "../measurement.ts";
import { pickWanted } from "../measurement.ts";
import { deleteStreamPath, encodeDeleteRequest } from "../requests.ts";
import { startVault } from "../vault-process.ts";
import { startWorker } from "../worker-process.ts";
import type { UnaryArgs } from "../workers/consumer.ts";
import { publish, type PublishLoad } from "./publish.ts";

const recordSizes = [100, 250, 1024, 16_384] as const;
const batches = [1, 100, 1000] as const;
const producerCounts = [1, 16, 256] as const;
const modes = ["unary", "pipelined"] as const;

/** What a request may take: a vault stores one in one write of 4 MiB. */
const requestBytesMax = 3 * 1024 ** 2;

/** What all requests in flight may take: more is a test of memory. */
const inFlightBytesMax = 300 * 1024 ** 2;

/** How much shorter than others each is measured. */
const secondsFactor = 0.4;

const connectionsMax = 16;

/** Every point of the grid: `SIZEb_xBATCH_pPRODUCERS_MODE`. Batches of large records are as long as fits a request. */
export const gridPoints: ReadonlyMap<string, PublishLoad> = new Map(
  recordSizes.flatMap((recordBytes) =>
    batches.flatMap((wanted) => {
      const batch = Math.min(wanted, Math.floor(requestBytesMax / recordBytes));
      return producerCounts.flatMap((producers) =>
        modes
          .map((mode): PublishLoad => {
            const window = mode === "unary" ? 1 : Math.max(1, Math.floor(64 / producers));
            return { recordBytes, batch, producers, mode, window, connections: Math.min(producers, connectionsMax) };
          })
          .map((load) => ({ ...load, window: fitWindow(load) }))
          .filter((load) => load.window > 0)
          .map((load) => [`${recordBytes}b_x${batch}_p${producers}_${load.mode}`, load] as const),
      );
    }),
  ),
);

function fitWindow({ window, producers, batch, recordBytes }: PublishLoad): number {
  return Math.min(window, Math.floor(inFlightBytesMax / (producers * batch * recordBytes)));
}

/** The whole grid. */
export const gridGroup: Group = {
  name: "publish_grid",
  fullOnly: true,
  measurements: [...gridPoints.keys()].flatMap((point) => [`grid_swallow_${point}`, `grid_${point}`]),
  async prepare(context) {
    const { stack, settings, directory } = context;
    const seconds = settings.seconds * secondsFactor;
    const producer = stack.use(startWorker("producer"));
    const cleaner = stack.use(startWorker("consumer"));
    const bare = stack.use(startWorker("limit-server"));
    const bareEndpoint = await bare.call<string>("listen");
    const { endpoint, pid } = stack.use(await startVault({ storage: `file:${path.join(directory, "vault")}` }));
    const measurements = [...gridPoints].flatMap(([point, load]): Measurement[] => [
      {
        name: `grid_swallow_${point}`,
        run: () => publish(producer, bare.pid, bareEndpoint, "swallowed", seconds, load),
      },
      {
        name: `grid_${point}`,
        run: async () => {
          const figures = await publish(producer, pid, endpoint, point, seconds, load).catch((error: unknown) => {
            context.note(`grid_${point}: ${String(error).split("\n")[0]}`);
            return {};
          });
          const remove: UnaryArgs = { endpoint, path: deleteStreamPath, request: encodeDeleteRequest(point) };
          await cleaner.call("unary", remove);
          return figures;
        },
      },
    ]);
    return pickWanted(context, measurements);
  },
};
