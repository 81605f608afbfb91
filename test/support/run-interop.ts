/** Examples in several languages on one cluster: each one's publisher with each one's subscriber. */
import type { Example } from "../../scripts/examples.ts";
import { connect } from "../../src/client.ts";
import { createRandom } from "./create-clock.ts";
import { createNodeCluster } from "./create-node-cluster.ts";
import type { NodeCluster } from "./create-node-cluster.ts";
import type { Scope } from "./create-scope.ts";
import { edgeRecords, smallRecord } from "./interop-records.ts";
import { startPublisher, startSubscriber } from "./run-example.ts";
import type { ProgramEnd, RunningPublisher, RunningSubscriber } from "./run-example.ts";
import { waitUntil } from "./wait-until.ts";

/** A publisher, and all subscribers to its stream. */
interface Group {
  readonly name: string;
  readonly publisher: RunningPublisher;
  readonly subscribers: ReadonlyMap<string, RunningSubscriber>;
}

/** What came of a run. */
export interface InteropResult {
  /** How many records each publisher published, by language. */
  readonly recordCounts: Readonly<Record<string, number>>;
  /** `go → java` and the like: the pairs of which every record was compared. */
  readonly pairs: readonly string[];
  /** What is wrong; nothing where all is well. */
  readonly faults: readonly string[];
}

const recordEveryMs = 25;
const progressMsMax = 90_000;
const nodeCount = 3;

/**
 * Runs every publisher with every subscriber, all at once, while the leader is killed, then each node is restarted in
 * turn, then a node is frozen. Every pair has to go on behind each of these.
 */
export async function runInterop(scope: Scope, examples: readonly Example[], seed: number): Promise<InteropResult> {
  // Segments that hold the largest commit, yet are rolled now and then.
  const settings = ["--segment-bytes", "8MiB"];
  const cluster = await createNodeCluster(scope, { nodeCount, random: createRandom(seed), settings });
  const groups = await startGroups(scope, cluster, examples);
  const feed = startFeed(groups);
  await waitForProgress(groups, edgeRecords().length + 10, "all pairs run");

  const { node: killed, epoch } = await cluster.waitForLeader();
  await killed.stop("SIGKILL");
  await cluster.waitForLeader(epoch);
  await waitForProgress(groups, 20, "all pairs go on behind the kill of the leader");
  await killed.start();

  for (const node of cluster.nodes) {
    await node.stop("SIGTERM");
    await node.start();
    await cluster.waitForLeader();
    await waitForProgress(groups, 5, `all pairs go on behind the restart of node ${node.name}`);
  }

  // Its connections stand and say nothing: who is on them has to notice.
  const leader = (await cluster.waitForLeader()).node;
  const frozen = cluster.nodes.find((node) => node !== leader)!;
  frozen.freeze();
  await waitForProgress(groups, 20, `all pairs go on though node ${frozen.name} is frozen`);
  frozen.thaw();

  await feed.stop();
  const faults: string[] = [];
  await finishPublishers(groups, faults);
  await finishSubscribers(groups, faults);
  const pairs = groups.flatMap((group) => compare(group, faults));
  const counts = groups.map(({ name, publisher }) => [name, publisher.sent.length] as const);
  return { recordCounts: Object.fromEntries(counts), pairs, faults };
}

async function startGroups(scope: Scope, cluster: NodeCluster, examples: readonly Example[]): Promise<Group[]> {
  const client = connect({ addresses: cluster.addresses });
  scope.teardown(() => client.close());
  const groups: Group[] = [];
  for (const [i, example] of examples.entries()) {
    const { name } = example.language;
    const stream = `from-${name}`;
    await client.createStream(stream);
    // Each begins at another node, and knows them all.
    const rotate = (by: number) => cluster.addresses.map((_, at) => cluster.addresses[(at + by) % nodeCount]).join(",");
    const publisher = startPublisher(scope, example, rotate(i), stream);
    const subscribers = examples.map(
      (other, j) => [other.language.name, startSubscriber(scope, other, rotate(i + j), stream)] as const,
    );
    groups.push({ name, publisher, subscribers: new Map(subscribers) });
  }
  return groups;
}

/** Gives every publisher the records at the edges, then a small one every few milliseconds. */
function startFeed(groups: readonly Group[]) {
  const stopping = new AbortController();
  const stopped = new Promise<void>((resolve) => {
    stopping.signal.addEventListener("abort", () => resolve());
  });
  const feed = async ({ publisher }: Group) => {
    for (const record of edgeRecords()) await publisher.give(record);
    for (let index = 0; !stopping.signal.aborted; index++) {
      await publisher.give(smallRecord(index));
      const next = Promise.withResolvers<void>();
      const timer = setTimeout(next.resolve, recordEveryMs);
      await Promise.race([next.promise, stopped]);
      clearTimeout(timer);
    }
  };
  const feeding = Promise.all(groups.map(feed));
  return {
    async stop() {
      stopping.abort();
      await feeding;
    },
  };
}

/** Waits until each publisher has `count` more acknowledgements, and each subscriber has read up to there. */
async function waitForProgress(groups: readonly Group[], count: number, what: string): Promise<void> {
  const goals = new Map(groups.map((group) => [group, group.publisher.acknowledgedCount + count]));
  const lagging = () =>
    groups.flatMap((group) => {
      const goal = goals.get(group)!;
      const readers = [...group.subscribers].filter(([, { received }]) => received.length < goal);
      const behind = readers.map(([name, { received }]) => `${group.name} → ${name}: ${received.length} of ${goal}`);
      const { acknowledgedCount } = group.publisher;
      return acknowledgedCount < goal ? [`${group.name}: ${acknowledgedCount} of ${goal}`, ...behind] : behind;
    });
  try {
    await waitUntil(() => lagging().length === 0, what, progressMsMax);
  } catch (error) {
    throw new Error(`not so: ${what}: ${lagging().join(", ")}`, { cause: error });
  }
}

async function finishPublishers(groups: readonly Group[], faults: string[]): Promise<void> {
  const finish = async ({ name, publisher }: Group) => {
    const end = await publisher.finish();
    judgeEnd(`publisher in ${name}`, end, /^/, faults);
    faults.push(...publisher.faults.map((fault) => `publisher in ${name}: ${fault}`));
    const { acknowledgedCount, sent } = publisher;
    if (acknowledgedCount !== sent.length) faults.push(`${name}: ${acknowledgedCount} of ${sent.length} acknowledged`);
  };
  await Promise.all(groups.map(finish));
}

async function finishSubscribers(groups: readonly Group[], faults: string[]): Promise<void> {
  // Who does not come this far is found by the comparison.
  await waitForProgress(groups, 0, "all subscribers are at the tail").catch(() => undefined);
  const finish = async (group: Group, name: string, subscriber: RunningSubscriber) => {
    const end = await subscriber.interrupt();
    const count = group.publisher.sent.length;
    judgeEnd(`subscriber in ${name} of ${group.name}`, end, new RegExp(`^next offset: ${count}$`, "m"), faults);
    faults.push(...subscriber.faults.map((fault) => `subscriber in ${name} of ${group.name}: ${fault}`));
  };
  const all = groups.flatMap((group) => [...group.subscribers].map((named) => finish(group, ...named)));
  await Promise.all(all);
}

/** A program that Ctrl-C ends in order says 0, or 130 where the runtime (Java's) insists on telling why. */
function judgeEnd(who: string, { code, errors }: ProgramEnd, says: RegExp, faults: string[]): void {
  if ((code !== 0 && code !== 130) || !says.test(errors)) faults.push(`${who} ended with ${code}: ${errors}`);
}

/** Compares every record of every pair. Returns the pairs. */
function compare({ name, publisher, subscribers }: Group, faults: string[]): string[] {
  const { sent } = publisher;
  const first = subscribers.values().next().value;
  return [...subscribers].map(([reader, { received, timestamps }]) => {
    const pair = `${name} → ${reader}`;
    if (received.length !== sent.length) faults.push(`${pair}: ${received.length} of ${sent.length} records`);
    const wrong = received.findIndex((record, i) => record !== sent[i]);
    if (wrong !== -1) faults.push(`${pair}: record ${wrong} is another`);
    if (timestamps.some((timestamp, i) => !(timestamp >= (timestamps[i - 1] ?? 1))))
      faults.push(`${pair}: time goes back`);
    if (timestamps.some((timestamp, i) => timestamp !== first?.timestamps[i])) faults.push(`${pair}: times differ`);
    return pair;
  });
}
