/** One run of the simulation, from its seed: nodes, clients and faults, then peace, then the checks. */
import { type Config } from "../../src/config.ts";
import { change, look, lookAtTail, transfer } from "./admins.ts";
import { checkHistory, checkPromises, checkSubscriber, type Violation } from "./checks.ts";
import { type Client, type ClientWorld, createClient } from "./client.ts";
import { describeFault, type Fault, faultsMs, planFaults } from "./faults.ts";
import type { HistoryOperation } from "./history.ts";
import {
  publishExpecting,
  publishPipelined,
  publishPlainly,
  publishSequenced,
  type PublisherOptions,
} from "./publishers.ts";
import type { Equip } from "./node-process.ts";
import type { VaultSource } from "./source.ts";
import { createSubscriber, follow, readToTail, type Subscriber } from "./subscribers.ts";
import { createWorld, type World } from "./world.ts";

/** How a run went. */
export interface RunResult {
  readonly seed: number;
  readonly violations: readonly Violation[];
  readonly faults: readonly Fault[];
  readonly history: readonly HistoryOperation[];
  /** The newest lines of the trace. */
  readonly trace: readonly string[];
  /** The same for the same seed. */
  readonly digest: string;
  readonly stats: RunStats;
}

/** What happened in a run, in numbers. */
export interface RunStats {
  readonly nodes: number;
  readonly clients: number;
  readonly operations: number;
  readonly acknowledged: number;
  readonly delivered: number;
  readonly faultKinds: number;
  readonly failovers: number;
  readonly rolls: number;
  /** How long the run lasted in its own time, in milliseconds. */
  readonly virtualMs: number;
  readonly alarms: number;
}

/** How a run may differ from what its seed says. */
export interface RunOptions {
  /** These faults, instead of the seed's. */
  readonly faults?: readonly Fault[];
  /** How many lines of the trace are kept. */
  readonly traceKeptMax?: number;
  /** See `ProcessOptions`. */
  readonly equip?: Equip;
}

// How much of the trace is told of a run that failed.
const traceLinesMax = 60;

const KiB = 1024;
const nodes = 3;
const streams = ["steady", "trimmed", "fleeting"] as const;

// How long clients have to finish once everything is mended, and the whole run to end: in milliseconds of its own time.
const finishMsMax = 240_000;
const runMsMax = 900_000;
// How long a subscription may need to the tail, and a publish to be answered, when nothing is wrong any more.
const progressMsMax = 30_000;

/** Runs a seed. Never rejects for what the vault does: that is in the result. */
export async function simulate(source: VaultSource, seed: number, options: RunOptions = {}): Promise<RunResult> {
  const violations: Violation[] = [];
  const stopping = new AbortController();
  const history: HistoryOperation[] = [];
  let failed = false;
  const violate = (check: string, what: string) => {
    // Without the stack that may follow the first line: how much there is of it depends on who runs the seed.
    world.trace.note("violation", `${check}: ${what.split("\n", 1)[0]}`);
    violations.push({ check, what, around: history.slice(-6) });
    failed = true;
  };
  const world = createWorld({
    source,
    seed,
    nodes,
    config: simulatedConfig(source, seed),
    traceKeptMax: options.traceKeptMax ?? 0,
    equip: options.equip,
    violate,
    transfer: (to) => void transfer(clients.operator, to ?? ""),
  });
  const shared: ClientWorld = {
    source,
    scheduler: world.scheduler,
    endpoints: world.endpoints,
    history,
    stopping: stopping.signal,
    violate,
  };
  const faults = options.faults ?? planFaults(world.random("faults"), nodes);
  const clients = createClients(world, shared, isTight(seed) ? 400 : 2 * KiB);
  let done = false;
  const script = runScript(world, clients, faults, stopping, () => failed).then(
    () => (done = true),
    (error: unknown) => {
      violate("fault", error instanceof Error ? (error.stack ?? error.message) : String(error));
      done = true;
    },
  );
  const ended = await world.scheduler.run(runMsMax, () => done || failed);
  if (!ended) violate("progress", "the run does not come to an end");
  if (!failed) {
    await script;
    violations.push(...checkHistory(history));
    for (const subscriber of clients.subscribers) violations.push(...checkSubscriber(subscriber, history));
    violations.push(...checkPromises(clients.subscribers, history));
  }
  return {
    seed,
    violations,
    faults,
    history,
    trace: world.trace.lines,
    digest: world.trace.digest(),
    stats: statsOf(world, history, clients.count),
  };
}

/** A result in words: what is wrong, the faults, and the end of the trace. */
export function describeResult({ seed, violations, faults, trace }: RunResult): string {
  return [
    `seed ${seed}: ${violations.length} violations`,
    ...violations
      .slice(0, 5)
      .flatMap(({ check, what, around }) => [
        `  ${check}: ${what}`,
        ...around.map((operation) => `      ${JSON.stringify(operation)}`),
      ]),
    "faults:",
    ...faults.map((fault) => `  ${describeFault(fault)}`),
    ...(trace.length === 0 ? [] : ["trace:", ...traceAround(trace, violations).map((line) => `  ${line.trimEnd()}`)]),
  ].join("\n");
}

/** The lines of the trace up to the violation: where it is of a history, up to the answers that it is about. */
function traceAround(trace: readonly string[], violations: readonly Violation[]): readonly string[] {
  const around = violations[0]?.around ?? [];
  const until = Math.max(...around.map(({ calledAt, endedAt }) => endedAt ?? calledAt));
  const isAtOnce = trace.some((line) => line.includes(" violation "));
  const end = isAtOnce ? trace.length : trace.findLastIndex((line) => Number.parseFloat(line) <= until) + 1;
  return trace.slice(Math.max(0, end - traceLinesMax), end);
}

/**
 * Whether commits are so small that more is queued than one takes, and the next is built ahead; what is published is small
 * then, too. In the other seeds many frames go out together.
 */
function isTight(seed: number): boolean {
  return seed % 3 !== 0;
}

/** Everything is small, so that segments roll, caches evict and limits are reached in every run. */
function simulatedConfig(source: VaultSource, seed: number): Config {
  return {
    ...source.config.loadConfig({}, {}),
    recordBytesMax: 8 * KiB,
    streamPendingBytesMax: 12 * KiB,
    pendingBytesMax: 24 * KiB,
    lingerMs: seed % 4 === 0 ? 5 : 0,
    commitBytesMax: isTight(seed) ? 6 * KiB : 64 * KiB,
    frameBytes: 2 * KiB,
    responseBytes: 4 * KiB,
    tailCacheBytes: 32 * KiB,
    readCacheBytes: 64 * KiB,
    readBytes: 8 * KiB,
    readAheadBytes: 8 * KiB,
    readsInFlightMax: 4,
    indexCacheBytes: 2 * KiB,
    openStreamsMax: 2,
    subscriptionsMax: 100,
    wokenAtOnce: 1,
    producersMax: 100,
    producerRequestsMax: 8,
    segmentBytes: isTight(seed) ? 16 * KiB : 64 * KiB,
    segmentAgeMs: 40_000,
    settleMs: 10_000,
    storageTimeoutMs: 8000,
    leaseTimeoutMs: 3000,
    retentionSweepMs: 2000,
    leaderWaitMs: 6000,
    shutdownGraceMs: 5000,
    heartbeatMs: 5000,
  };
}

interface Clients {
  readonly count: number;
  readonly operator: Client;
  /** A client that stays with its node: one a node. */
  readonly fixed: readonly Client[];
  readonly subscribers: readonly Subscriber[];
  /** Begins to follow the streams. */
  follow(stop: AbortSignal): Promise<unknown>;
  /** Begins everything that comes to an end by itself. */
  work(): Promise<unknown>;
}

function createClients(world: World, shared: ClientWorld, valueBytesMax: number): Clients {
  let count = 0;
  const make = (endpoints = shared.endpoints) => {
    const name = `c${count++}`;
    const random = world.random(`client ${name}`);
    const host = world.clientHost(name);
    return createClient({ ...shared, endpoints }, host, world.network.caller(host, 2000), random, random() < 0.5);
  };
  const [steady, trimmed, fleeting] = streams;
  const options: PublisherOptions = { streams, batches: 60, pauseMs: 850, valueBytesMax };
  const work = [
    { client: make(), run: (client: Client) => publishSequenced(client, options) },
    { client: make(), run: (client: Client) => publishSequenced(client, options) },
    { client: make(), run: (client: Client) => publishPlainly(client, options) },
    { client: make(), run: (client: Client) => publishExpecting(client, { ...options, streams: [steady, trimmed] }) },
    { client: make(), run: (client: Client) => publishExpecting(client, { ...options, streams: [steady, trimmed] }) },
    { client: make(), run: (client: Client) => publishPipelined(client, { ...options, streams: [steady] }) },
    { client: make(), run: (client: Client) => publishPipelined(client, { ...options, streams: [fleeting] }) },
    { client: make(), run: (client: Client) => look(client, streams, 70, 800) },
    { client: make(), run: (client: Client) => change(client, trimmed, fleeting, 15, 4000) },
  ];
  const following = [
    [steady, ""],
    [trimmed, ""],
    [fleeting, ""],
    [steady, "b"],
  ] as const;
  const followers = following.map(([stream, keyPrefix]) => {
    const client = make();
    return { client, subscriber: createSubscriber(client, stream, keyPrefix) };
  });
  const fixed = shared.endpoints.map((endpoint) => make([endpoint]));
  const operator = make();
  return {
    count,
    operator,
    fixed,
    subscribers: followers.map(({ subscriber }) => subscriber),
    follow: (stop) => Promise.all(followers.map(({ client, subscriber }) => follow(client, subscriber, stop))),
    work: () => Promise.all(work.map(({ client, run }) => run(client))),
  };
}

/** What happens in a run, from the first start of a node to the last one's end. */
async function runScript(
  world: World,
  clients: Clients,
  faults: readonly Fault[],
  stopping: AbortController,
  failed: () => boolean,
): Promise<void> {
  const { scheduler } = world;
  const wait = (ms: number) => new Promise<void>((resolve) => void scheduler.after(ms, resolve));
  const within = (ms: number, what: string, promise: Promise<unknown>) => {
    const timer = scheduler.after(ms, () => world.violate("progress", `${what} takes longer than ${ms} ms`));
    return promise.finally(() => timer.cancel());
  };
  for (const machine of world.endpoints.keys()) scheduler.after(500 * machine, () => world.start(machine));
  for (const fault of faults) scheduler.after(fault.at, () => world.begin(fault));
  await wait(1000);
  const working = clients.work();
  const stopFollowing = new AbortController();
  const following = clients.follow(stopFollowing.signal);
  await wait(faultsMs);
  world.heal();
  await within(finishMsMax, "what clients do", working);
  // No run is without a failover: where all faults came while nobody led, or hit others, the leader is lost now.
  if (world.failovers === 0) world.begin({ kind: "crash", at: scheduler.now, node: "leader", forMs: 5000 });
  // Requests that were held up for long may still arrive, and must change nothing.
  await wait(70_000);
  for (const client of clients.fixed)
    await within(progressMsMax, `a publish through ${client.endpoint}`, proveProgress(client));
  await within(progressMsMax, "following to the tail", allCaughtUp(clients, wait));
  for (const client of clients.fixed) {
    for (const stream of streams) await within(progressMsMax, `reading ${stream}`, readAtLast(client, stream));
  }
  stopFollowing.abort();
  stopping.abort();
  await within(progressMsMax, "the end of subscriptions", following);
  if (failed()) return;
  await closeAll(world, within);
  await verifyAll(world);
}

/** Publishes to each stream through the client's node. */
async function proveProgress(client: Client): Promise<void> {
  await publishSequenced(client, { streams, batches: streams.length, pauseMs: 0, valueBytesMax: 100 });
}

async function allCaughtUp(clients: Clients, wait: (ms: number) => Promise<void>): Promise<void> {
  for (const subscriber of clients.subscribers) {
    for (;;) {
      const found = await lookAtTail(clients.fixed[0]!, subscriber.stream);
      const { incarnation, nextOffset = -1 } = subscriber;
      if (found !== undefined && found.incarnation === incarnation && nextOffset >= found.nextOffset) break;
      await wait(500);
    }
  }
}

async function readAtLast(client: Client, stream: string): Promise<void> {
  while (!(await readToTail(client, stream, "earliest"))) await client.pause(500);
}

/** Ends every node in order: nothing may be left. */
async function closeAll(
  world: World,
  within: (ms: number, what: string, promise: Promise<unknown>) => Promise<unknown>,
): Promise<void> {
  for (const process of world.processes) {
    if (process === undefined) continue;
    const { host, store, node } = process;
    const usedBytes = node.engine.tailBudget.usedBytes;
    if (usedBytes > 32 * KiB) world.violate("memory", `${host.name} keeps ${usedBytes} bytes of tails`);
    await within(progressMsMax, `the end of ${host.name}`, process.stop());
    // What it has begun and does not wait for, such as reading ahead, is answered by then.
    await new Promise<void>((resolve) => void world.scheduler.after(1000, resolve));
    if (process.calls > 0) world.violate("left behind", `${host.name} has ${process.calls} calls`);
    if (store.pending > 0) world.violate("left behind", `${host.name} has ${store.pending} requests under way`);
    if (host.timers > 0) world.violate("left behind", `${host.name} has ${host.timers} timers`);
    host.crash();
  }
  const control = await world.memory.properties("cluster/leader");
  if (control?.leased === true) world.violate("left behind", "the lease is held by nobody that runs");
}

/** Everything on storage is whole. */
async function verifyAll(world: World): Promise<void> {
  const { source, memory } = world;
  const clock = world.clientHost("verifier").clock;
  for (const stream of streams) {
    try {
      for await (const event of source.verify.verifyStream(memory, stream, clock)) {
        if (event.kind === "finding") world.violate("verify", `${event.blob}@${event.position}: ${event.problem}`);
      }
    } catch (error) {
      if (!source.errors.isKind(error, "notFound")) throw error;
    }
  }
}

function statsOf(world: World, history: readonly HistoryOperation[], clients: number): RunStats {
  const count = (test: (operation: HistoryOperation) => boolean) => history.filter(test).length;
  return {
    nodes,
    clients,
    operations: count(({ op }) => op !== "delivery"),
    acknowledged: count(({ op, outcome }) => op === "append" && outcome === "ok"),
    delivered: count(({ op }) => op === "delivery"),
    faultKinds: world.faultCounts.size,
    failovers: world.failovers,
    rolls: world.rolls,
    virtualMs: Math.round(world.scheduler.now),
    alarms: world.scheduler.fired,
  };
}
