/** A cluster under load: publishers, subscribers on every node, and the judgement at the end. */
import { connect } from "../../src/client.ts";
import type { VaultClient } from "../../src/client.ts";
import { systemClock } from "../../src/clock.ts";
import type { Log } from "../../src/log.ts";
import { checkHistory as checkOperations } from "../simulation/checks.ts";
import { toOperations } from "../simulation/process-history.ts";
import { checkHistory } from "./check-history.ts";
import type { Verdict } from "./check-history.ts";
import { createRandom } from "./create-clock.ts";
import { createNodeCluster } from "./create-node-cluster.ts";
import type { ClusterNode, ClusterOptions, NodeCluster } from "./create-node-cluster.ts";
import type { Scope } from "./create-scope.ts";
import { createHistory, longestGap } from "./failover-history.ts";
import type { History } from "./failover-history.ts";
import { startContender, startOpenLoop } from "./open-loop-publisher.ts";
import type { RunningPublisher } from "./open-loop-publisher.ts";
import { readStoredStream } from "./read-stored-stream.ts";
import { verifyStore } from "./verify-storage.ts";
import { waitUntil } from "./wait-until.ts";

/** The stream whose gaps are measured: a record every 10 ms. */
export const pacedStream = "paced";

/** A cluster under load. */
export interface FailoverRun {
  readonly cluster: NodeCluster;
  readonly history: History;
  /** A client of all nodes. */
  readonly client: VaultClient;
  readonly random: () => number;
  /** Waits until `count` more publishes to the paced stream are acknowledged. */
  waitForAcknowledgements(count: number, limitMs?: number): Promise<void>;
  /** Waits until each stream beside the three that are read has an acknowledgement from now on. */
  waitForEveryStream(limitMs?: number): Promise<void>;
  /** The longest time without an acknowledgement of each stream beside the three that are read, in milliseconds. */
  measureStreamGaps(during: { readonly startedAt: number; readonly endedAt: number }): number[];
  /** Ends the publishers. */
  endLoad(): Promise<void>;
  /**
   * Ends the load, waits until every subscriber has read everything, stops all nodes, and judges what storage holds.
   * All nodes must run and reach each other and storage.
   */
  finish(): Promise<Verdict>;
}

/** What a run is made of. */
export interface FailoverOptions extends Partial<ClusterOptions> {
  readonly seed: number;
  /** How many streams more are written to, by turns: a record every 10 ms. */
  readonly moreStreams?: number;
}

const catchUpMsMax = 60_000;
const retryForMs = 120_000;

/** Starts three nodes (or as many as `options` say) and their load. Ends with `scope`. */
export async function startFailoverRun(scope: Scope, options: FailoverOptions): Promise<FailoverRun> {
  scope.log(`seed ${options.seed}`);
  const random = createRandom(options.seed);
  const cluster = await createNodeCluster(scope, { nodeCount: 3, random, ...options });
  const history = createHistory();
  const client = connectTo(scope, cluster.addresses);
  const more = Array.from({ length: options.moreStreams ?? 0 }, (_, i) => `more-${i}`);
  const streams = [pacedStream, "chained", "contested", ...more];
  for (const stream of streams) await client.createStream(stream);
  const publishers = startPublishers(client, history, more);
  scope.teardown(() => publishers.forEach((publisher) => publisher.abandon()));
  for (const stream of streams.slice(0, 3)) {
    for (const node of cluster.nodes) startReader(scope, cluster, history, node, stream);
  }
  const acknowledgedCount = () => history.acknowledgedAt(pacedStream).length;
  const ended: { load?: Promise<void> } = {};
  const run: FailoverRun = {
    cluster,
    history,
    client,
    random,
    waitForAcknowledgements(count, limitMs = 60_000) {
      const enough = acknowledgedCount() + count;
      return waitUntil(() => acknowledgedCount() >= enough, `${count} more acknowledgements`, limitMs);
    },
    waitForEveryStream(limitMs = 60_000) {
      const from = systemClock.monotonic();
      const isBehind = (stream: string) => (history.acknowledgedAt(stream).at(-1) ?? 0) < from;
      return waitUntil(() => !more.some(isBehind), "every stream goes on", limitMs);
    },
    measureStreamGaps: ({ startedAt, endedAt }) =>
      more.map((stream) => longestGap(history.acknowledgedAt(stream), startedAt, endedAt)),
    endLoad: () => (ended.load ??= Promise.all(publishers.map((publisher) => publisher.stop())).then(() => undefined)),
    async finish() {
      await run.endLoad();
      await catchUp(history);
      await Promise.all(history.readers.map((reader) => reader.stop()));
      await Promise.all(cluster.nodes.map((node) => node.stop("SIGTERM")));
      return judge(cluster, history, streams);
    },
  };
  await run.waitForAcknowledgements(20);
  return run;
}

function connectTo(scope: Scope, addresses: readonly string[], log?: Log): VaultClient {
  const client = connect({ addresses, retryForMs, ...(log === undefined ? {} : { log }) });
  scope.teardown(() => client.close());
  return client;
}

function startPublishers(client: VaultClient, history: History, more: readonly string[]): RunningPublisher[] {
  const publishers = [
    startOpenLoop(client, history, { source: "paced", streams: [pacedStream], everyMs: 10 }),
    startOpenLoop(client, history, { source: "chained", streams: ["chained"], everyMs: 50, expectOffsets: true }),
    startContender(client, history, "contender-1", "contested", 100),
    startContender(client, history, "contender-2", "contested", 100),
  ];
  if (more.length > 0) publishers.push(startOpenLoop(client, history, { source: "more", streams: more, everyMs: 10 }));
  return publishers;
}

function startReader(scope: Scope, cluster: NodeCluster, history: History, node: ClusterNode, stream: string): void {
  // Its own node first, the others where that is gone.
  const addresses = [node.endpoint, ...cluster.addresses.filter((address) => address !== node.endpoint)];
  history.read((log) => connectTo(scope, addresses, log), node.name, stream);
}

async function catchUp(history: History): Promise<void> {
  const ends = new Map<string, number>();
  for (const { stream, offset = -1 } of history.attempts) ends.set(stream, Math.max(ends.get(stream) ?? 0, offset + 1));
  const isBehind = () => history.readers.filter(({ stream, ids }) => ids.length < (ends.get(stream) ?? 0));
  // Who does not come this far is found by the judgement.
  await waitUntil(() => isBehind().length === 0, "all subscribers are at the tail", catchUpMsMax).catch(
    () => undefined,
  );
}

async function judge(cluster: NodeCluster, history: History, streams: readonly string[]): Promise<Verdict> {
  const stored = [];
  for (const stream of streams) stored.push(await readStoredStream(cluster.store, stream));
  const verdict = checkHistory(history, stored, cluster.witness.staleWrites);
  const broken = checkOperations(toOperations(history, stored));
  verdict.faults.push(...broken.map(({ check, what }) => `${check}: ${what}`));
  const { findings } = await verifyStore(cluster.store);
  verdict.faults.push(...findings.map((finding) => `verify: ${finding}`));
  return verdict;
}
