/**
 * Tail latency: from when a record is scheduled to be published until a subscriber has it, beside what it cannot be
 * less than: a unary round trip, and two page writes, as a record waits for the write in flight and for its own.
 */
import { mkdir } from "node:fs/promises";
import path from "node:path";
import type { BenchContext, Figures, Group, Measurement } from "../measurement.ts";
import { pickWanted } from "../measurement.ts";
import { createRandom, percentilesOf, sumAtRandom } from "../statistics.ts";
import { startVault } from "../vault-process.ts";
import { startWorker } from "../worker-process.ts";
import type { WorkerProcess } from "../worker-process.ts";
import type { RawFileArgs, RawResult } from "../workers/raw-file.ts";
import type { TailArgs, TailResult } from "../workers/tail-load.ts";

/** Requests go out every millisecond at both rates; with more records each at the higher one. */
const requestsPerSecond = 1000;
const recordBytes = 250;

/** What a record takes in a segment, about, and the pages that a commit of one request writes. */
const storedBytes = recordBytes + 19;
const pageBytes = 4096;

/** How long pages are written for each limit. */
const writeSeconds = 0.7;

/** How many sums make the limit's percentiles. */
const sums = 20_000;

/** Records a second; and how much longer than others this measures, as percentiles need many latencies. */
const rates = [
  { recordsPerSecond: 1000, secondsFactor: 2 },
  { recordsPerSecond: 50_000, secondsFactor: 1 },
] as const;

type Rate = (typeof rates)[number];

/**
 * What a server, bare or vault, is sent before anything counts: so many requests take the engine to compile what one
 * goes through. A server that runs for longer than a minute has that behind it.
 */
const warmUp = { stream: "warm-up", requestsPerSecond: 2000, recordsPerRequest: 1, recordBytes, seconds: 8 };

/** Tail latency at 1,000 and 50,000 records a second. */
export const tailGroup: Group = {
  name: "tail",
  measurements: rates.flatMap(({ recordsPerSecond: n }) => [`raw_tail_${n}`, `tail_${n}`]),
  async prepare(context) {
    const { stack, directory } = context;
    const load = stack.use(startWorker("tail-load"));
    const disk = stack.use(startWorker("raw-file"));
    const bare = stack.use(startWorker("limit-server"));
    const bareEndpoint = await bare.call<string>("listen");
    const storage = `file:${path.join(directory, "vault")}`;
    const profileDirectory = context.profile && path.join(context.profile, "latency");
    const vault = stack.use(await startVault({ storage, profileDirectory }));
    if (profileDirectory !== undefined) stack.defer(() => vault.stop());
    await mkdir(path.join(directory, "raw"));
    context.say("tail: warming up");
    await load.call<TailResult>("roundTrip", { ...warmUp, endpoint: bareEndpoint } satisfies TailArgs);
    await load.call<TailResult>("tail", { ...warmUp, endpoint: vault.endpoint } satisfies TailArgs);
    const measurements = rates.flatMap((rate): Measurement[] => [
      { name: `raw_tail_${rate.recordsPerSecond}`, run: () => measureLimit(context, rate, load, disk, bareEndpoint) },
      { name: `tail_${rate.recordsPerSecond}`, run: () => measureTail(context, rate, load, vault.endpoint) },
    ]);
    return pickWanted(context, measurements);
  },
};

function tailArgs({ settings }: BenchContext, rate: Rate, endpoint: string): TailArgs {
  return {
    endpoint,
    stream: `tail-${rate.recordsPerSecond}`,
    requestsPerSecond,
    recordsPerRequest: rate.recordsPerSecond / requestsPerSecond,
    recordBytes,
    seconds: settings.seconds * rate.secondsFactor,
  };
}

async function measureTail(context: BenchContext, rate: Rate, load: WorkerProcess, endpoint: string): Promise<Figures> {
  const { deliveredMs, answeredMs } = await load.call<TailResult>("tail", tailArgs(context, rate, endpoint));
  return { ...percentilesOf(deliveredMs), answeredP50Ms: percentilesOf(answeredMs).p50Ms };
}

async function measureLimit(
  context: BenchContext,
  rate: Rate,
  load: WorkerProcess,
  disk: WorkerProcess,
  endpoint: string,
): Promise<Figures> {
  const pages = Math.ceil((storedBytes * (rate.recordsPerSecond / requestsPerSecond)) / pageBytes);
  const file = path.join(context.directory, "raw", "segment");
  const write: RawFileArgs = { file, chunkBytes: pages * pageBytes, seconds: writeSeconds };
  const { answeredMs } = await load.call<TailResult>("roundTrip", tailArgs(context, rate, endpoint));
  const { latenciesMs } = await disk.call<RawResult>("write", write);
  const writes = [...latenciesMs];
  return {
    ...percentilesOf(sumAtRandom([[...answeredMs], writes, writes], sums, createRandom())),
    roundTripP50Ms: percentilesOf(answeredMs).p50Ms,
    pageWriteP50Ms: percentilesOf(latenciesMs).p50Ms,
  };
}
