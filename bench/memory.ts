import { mkdtemp, rm } from "node:fs/promises";
import path from "node:path";
import { describeMachine, readResidentBytes } from "./machine.ts";
import type { Machine } from "./machine.ts";
import type { BenchOptions } from "./options.ts";
import { encodeReplayRequest, encodeUntilRequest } from "./requests.ts";
import { roundTo } from "./statistics.ts";
import { startVault } from "./vault-process.ts";
import { startWorker } from "./worker-process.ts";
import type { ReplayArgs, ReplayResult } from "./workers/consumer.ts";
import type { PublishArgs, PublishResult } from "./workers/producer.ts";

/** What a vault took while records were published and replayed. Memory is in MiB. */
export interface MemoryReport {
  /** The most that was resident at any time, as the kernel kept it. */
  readonly residentMax: number;
  /** What was resident when it had just started, and the median of what was sampled under load. */
  readonly residentAtStart: number;
  readonly residentMedian: number;
  readonly publishedGb: number;
  /** Of two subscriptions: one that follows from the start, and one that replays all of it later. */
  readonly replayedGb: number;
  readonly seconds: number;
  readonly machine: Machine;
}

const MiB = 1024 ** 2;
const batch = 1000;
const recordBytes = 250;
const requestBytes = 256_000;
const stream = "memory";
const sampleMs = 100;

/** Publishes to a vault on files at full speed, while it is replayed twice. Needs /proc, so Linux. */
export async function measureMemory(options: BenchOptions, say: (text: string) => void): Promise<MemoryReport> {
  await using stack = new AsyncDisposableStack();
  const directory = await mkdtemp(path.join(options.directory, "message-vault-memory-"));
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  const vault = stack.use(await startVault({ storage: `file:${directory}` }));
  const residentAtStart = readResidentBytes(vault.pid) / MiB;
  const producer = stack.use(startWorker("producer"));
  const follower = stack.use(startWorker("consumer"));
  const replayer = stack.use(startWorker("consumer"));
  const requests = Math.max(2, Math.ceil(options.bytes / requestBytes));
  const records = BigInt(requests) * BigInt(batch);
  const publish = (count: number): Promise<PublishResult> => {
    const args: PublishArgs = { endpoint: vault.endpoint, stream, requests: count, batch, recordBytes, ...load };
    return producer.call<PublishResult>("publish", args);
  };
  const read = (request: Uint8Array): ReplayArgs => ({ endpoint: vault.endpoint, request, calls: 1 });

  const resident: number[] = [];
  const sampling = setInterval(() => {
    resident.push(readResidentBytes(vault.pid) / MiB);
    if (resident.length % 50 === 0) say(`${resident.at(-1)?.toFixed(0)} MiB resident`);
  }, sampleMs);
  stack.defer(() => clearInterval(sampling));
  const startedAt = performance.now();
  // The first one creates the stream.
  await publish(1);
  const following = follower.call<ReplayResult>("replay", read(encodeUntilRequest(stream, records)));
  const half = requests >> 1;
  const first = await publish(half);
  const [second, followed, replayed] = await Promise.all([
    publish(requests - 1 - half),
    following,
    replayer.call<ReplayResult>("replay", read(encodeReplayRequest(stream, 0n))),
  ]);
  resident.sort((a, b) => a - b);
  return {
    residentMax: Math.round(readResidentBytes(vault.pid, "VmHWM") / MiB),
    residentAtStart: Math.round(residentAtStart),
    residentMedian: Math.round(resident[resident.length >> 1] ?? 0),
    publishedGb: roundTo((first.bytes + second.bytes) / 1e9, 3),
    replayedGb: roundTo((followed.bytes + replayed.bytes) / 1e9, 3),
    seconds: roundTo((performance.now() - startedAt) / 1000, 3),
    machine: describeMachine(),
  };
}

const load = { mode: "pipelined", producers: 4, connections: 4, window: 8, seconds: Infinity } as const;

/** What the vault may have resident, in MiB. */
const residentMaxBar = 300;

/** What is wrong with the report; undefined where nothing is. */
export function checkMemory({ residentMax }: MemoryReport): string | undefined {
  return residentMax < residentMaxBar ? undefined : `${residentMax} MiB were resident, the bar is ${residentMaxBar}`;
}

/** The report as text. */
export function formatMemory(report: MemoryReport): string {
  const { residentMax, residentAtStart, residentMedian, publishedGb, replayedGb, seconds } = report;
  return `Resident memory of the vault, MiB: at most ${residentMax}, median ${residentMedian}, at start ${residentAtStart}
while ${publishedGb} GB were published and ${replayedGb} GB replayed in ${seconds} s
`;
}
