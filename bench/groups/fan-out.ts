/**
 * How long a record takes to reach every subscription of a stream, beside a bare server that sends the same message to
 * as many calls; and what a subscription takes of the server's memory. One process holds all subscriptions of a server.
 */
import path from "node:path";
import { readResidentBytes } from "../machine.ts";
import type { Figures, Group, Measurement } from "../measurement.ts";
import { pickWanted } from "../measurement.ts";
import { spreadOf } from "../statistics.ts";
import { startVault } from "../vault-process.ts";
import { startWorker } from "../worker-process.ts";
import type { WorkerProcess } from "../worker-process.ts";
import type { FanOutArgs, ReachArgs } from "../workers/fan-out-load.ts";

/** The crowds, how many connections each comes over, and how many records are published in a measurement. */
const crowds = [
  { subscriptions: 1, connections: 1, records: 50 },
  { subscriptions: 100, connections: 10, records: 30 },
  { subscriptions: 10_000, connections: 20, records: 7 },
] as const;

type Crowd = (typeof crowds)[number];

const recordBytes = 250;

// So that heartbeats of the vault do not fall into what is measured of either.
const quiet = ["--heartbeat-ms", "300000"];

/** Fan-out to 1, 100 and 10,000 subscriptions. */
export const fanOutGroup: Group = {
  name: "fanout",
  measurements: crowds.flatMap(({ subscriptions }) => [`bare_fanout_${subscriptions}`, `fanout_${subscriptions}`]),
  async prepare(context) {
    const { stack, wanted, directory } = context;
    const bare = stack.use(startWorker("limit-server"));
    const bareEndpoint = await bare.call<string>("listen");
    const profileDirectory = context.profile && path.join(context.profile, "fan-out");
    const storage = `file:${path.join(directory, "vault")}`;
    const vault = stack.use(await startVault({ storage, args: quiet, profileDirectory }));
    if (profileDirectory !== undefined) stack.defer(() => vault.stop());
    const measurements: Measurement[] = [];
    for (const crowd of crowds) {
      const { subscriptions } = crowd;
      const servers = [
        { name: `bare_fanout_${subscriptions}`, endpoint: bareEndpoint, pid: bare.pid },
        { name: `fanout_${subscriptions}`, endpoint: vault.endpoint, pid: vault.pid },
      ].filter(({ name }) => wanted.has(name));
      for (const { name, endpoint, pid } of servers) {
        context.say(`${name}: subscribing`);
        const load = stack.use(startWorker("fan-out-load"));
        measurements.push({ name, run: await openCrowd(load, pid, endpoint, crowd) });
      }
    }
    return pickWanted(context, measurements);
  },
};

/** Subscribes, and gives what publishes and tells how that went. */
async function openCrowd(
  load: WorkerProcess,
  pid: number,
  endpoint: string,
  { subscriptions, connections, records }: Crowd,
): Promise<() => Promise<Figures>> {
  const stream = `fan-out-${subscriptions}`;
  const before = readResidentBytes(pid);
  await load.call("open", { endpoint, stream, subscriptions, connections } satisfies FanOutArgs);
  const opened = readResidentBytes(pid);
  return async () => {
    const args: ReachArgs = { stream, records, recordBytes };
    const reachedMs = await load.call<number[]>("reach", args);
    // Of few subscriptions the difference would be chance.
    const memory = subscriptions >= 1000 && { kbPerSubscription: (opened - before) / subscriptions / 1000 };
    return { reachedAllMs: spreadOf(reachedMs).median, ...memory };
  };
}
