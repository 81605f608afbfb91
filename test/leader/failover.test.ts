import test from "ava";
import type { ExecutionContext } from "ava";

import { controlName } from "../../src/leader/control.ts";
import type { FailoverCause } from "../../src/leader/leader.ts";
import { createCluster, electionSettings, unreachable } from "../support/create-cluster.ts";
import type { Cluster, ClusterNode } from "../support/create-cluster.ts";

const minute = 60_000;

/** Starts nodes of these names; the first leads. */
async function startCluster(t: ExecutionContext, names: readonly string[], seed = 1) {
  const cluster = createCluster(t, seed);
  const nodes: ClusterNode[] = [];
  for (const name of names) {
    const node = await cluster.start(name);
    if (nodes.length === 0) await cluster.clock.advanceUntil(() => node.election.role === "leader", 1000);
    nodes.push(node);
  }
  await cluster.clock.advance(1000);
  return { cluster, nodes };
}

function leaderOf(nodes: readonly ClusterNode[], above = 0): ClusterNode | undefined {
  return nodes.find(({ election }) => election.role === "leader" && election.epoch > above);
}

/** Waits until another leads; resolves to how long that took and to it. */
async function untilNext(cluster: Cluster, nodes: readonly ClusterNode[], limitMs = minute) {
  const { epoch } = leaderOf(nodes)?.election ?? { epoch: 0 };
  const waitedMs = await cluster.clock.advanceUntil(() => leaderOf(nodes, epoch) !== undefined, limitMs);
  const next = leaderOf(nodes, epoch);
  if (next === undefined) throw new Error("nobody leads");
  return { waitedMs, next, failover: next.election.leader?.failover };
}

async function metadataOf(cluster: Cluster) {
  return (await cluster.store.properties(controlName))?.metadata;
}

test("failover - a leader whose process is gone is replaced as soon as the watch finds it so", async (t) => {
  const { cluster, nodes } = await startCluster(t, ["a", "b", "c"]);
  nodes[0]!.kill();

  const { waitedMs, failover } = await untilNext(cluster, nodes.slice(1));

  t.true(waitedMs <= 500, `${waitedMs} ms`);
  t.is(failover?.cause, "gone");
  t.true(failover?.gapMs !== undefined && failover.gapMs >= waitedMs && failover.gapMs <= waitedMs + 500);
  t.like(await metadataOf(cluster), { cause: "gone", silences: "0", breaks: "1", gapms: String(failover?.gapMs) });
  await cluster.clock.advance(1000);
  t.deepEqual(nodes[1]!.election.leader, nodes[2]!.election.leader);
});

test("failover - a leader that stands still is replaced after the suspicion time, and learns it when it goes on", async (t) => {
  const { cluster, nodes } = await startCluster(t, ["a", "b", "c"]);
  await cluster.clock.advance(15_000);
  const fence = nodes[0]!.election.fence();
  nodes[0]!.freeze();

  const { waitedMs, failover } = await untilNext(cluster, nodes.slice(1));

  t.true(waitedMs >= 3000 && waitedMs <= 4000, `${waitedMs} ms`);
  t.is(failover?.cause, "silent");
  t.like(await metadataOf(cluster), { cause: "silent", silences: "1" });
  await cluster.clock.advance(20_000);
  nodes[0]!.thaw();
  t.throws(() => fence.assertHeld());
  await cluster.clock.advance(1000);
  t.is(nodes[0]!.election.role, "standby");
  t.deepEqual(nodes[0]!.election.leader, nodes[1]!.election.leader);
});

test("failover - a young leader that is silent is left to lead until it is 15 s old", async (t) => {
  const { cluster, nodes } = await startCluster(t, ["a", "b"]);
  cluster.network.cut("a");
  const { failover } = await untilNext(cluster, nodes.slice(1));
  t.is(failover?.cause, "silent");
  const ledMs = cluster.clock.monotonic();
  t.true(ledMs >= 15_000 && ledMs <= 16_000, `${ledMs} ms`);
});

test("failover - a leader that resigns is followed by the one it names, at once, though the lease is held", async (t) => {
  const { cluster, nodes } = await startCluster(t, ["a", "b", "c", "d"]);
  nodes[0]!.faults.set("releaseLease", unreachable);
  void nodes[0]!.election.resign("a test wants it", "c");
  t.deepEqual(nodes[0]!.election.state, {
    role: "standby",
    leader: undefined,
    resigned: { epoch: 1, successor: "c" },
  });

  const { waitedMs, next, failover } = await untilNext(cluster, nodes);

  t.is(next, nodes[2]!);
  t.is(waitedMs, 0);
  t.is(failover?.cause, "resigned");
  t.is(failover?.gapMs, 0);
  await cluster.clock.advance(100);
  for (const { election } of nodes) t.is(election.leader?.nodeId, "c");
  await cluster.clock.advance(minute);
  t.is(nodes[2]!.election.epoch, 2);
});

test("failover - where the one that was named does not come, another leads after a second", async (t) => {
  const { cluster, nodes } = await startCluster(t, ["a", "b", "c"]);
  nodes[2]!.freeze();
  await nodes[0]!.election.resign("a test wants it", "c");

  const { waitedMs, next, failover } = await untilNext(cluster, nodes);

  t.not(next, nodes[2]);
  t.true(waitedMs >= 1000 && waitedMs <= 1100, `${waitedMs} ms`);
  t.is(failover?.cause, "resigned");
});

for (const seed of [1, 2, 3, 4, 5]) {
  test(`failover - without a successor one of all takes over at once, the one that resigned last (seed ${seed})`, async (t) => {
    const { cluster, nodes } = await startCluster(t, ["a", "b", "c", "d"], seed);
    await nodes[0]!.election.resign("a test wants it");

    const { waitedMs, next } = await untilNext(cluster, nodes);

    t.not(next, nodes[0]);
    t.is(waitedMs, 0);
    await cluster.clock.advance(200);
    for (const { election } of nodes) t.is(election.epoch, 2);
  });
}

test("failover - a node that resigned leads again after a second if nobody else does", async (t) => {
  const { cluster, nodes } = await startCluster(t, ["a"]);
  await nodes[0]!.election.resign("a test wants it");
  const { waitedMs, failover } = await untilNext(cluster, nodes);
  t.true(waitedMs >= 1000 && waitedMs <= 1100, `${waitedMs} ms`);
  t.is(failover?.cause, "resigned");
  t.is(nodes[0]!.election.state.resigned, undefined);
});

test("failover - resigning resolves when the lease is given back, and does nothing where a node does not lead", async (t) => {
  const { cluster, nodes } = await startCluster(t, ["a", "b"]);
  await nodes[1]!.election.resign("it does not lead");
  t.is(nodes[1]!.election.state.resigned, undefined);
  t.is(nodes[0]!.election.role, "leader");
  const answers = Promise.withResolvers<void>();
  nodes[0]!.faults.set("releaseLease", async (forward) => {
    await answers.promise;
    return forward();
  });
  let resigned = false;
  const resigning = nodes[0]!.election.resign("a test wants it", "b").then(() => (resigned = true));
  await cluster.clock.settle();
  t.false(resigned);
  answers.resolve();
  t.true(await resigning);
});

test("failover - a node that resigned for good never leads again, and sees who does", async (t) => {
  const { cluster, nodes } = await startCluster(t, ["a", "b"]);
  await nodes[0]!.election.resign("a test wants it", "b", true);
  await cluster.clock.advance(200);
  t.is(nodes[0]!.election.leader?.nodeId, "b");
  nodes[1]!.kill();
  await cluster.clock.advance(minute);
  t.is(nodes[0]!.election.role, "standby");
  const c = await cluster.start("c");
  await cluster.clock.advance(200);
  t.is(c.election.role, "leader");
  t.is(nodes[0]!.election.leader?.nodeId, "c");
});

test("failover - a leader whose lease ran out says so, and a standby need not find out by polling", async (t) => {
  const { cluster, nodes } = await startCluster(t, ["a", "b"]);
  for (const call of ["renewLease", "releaseLease", "properties"] as const) nodes[0]!.faults.set(call, unreachable);

  const { failover } = await untilNext(cluster, nodes.slice(1));

  t.is(cluster.clock.monotonic(), 15_000);
  t.is(failover?.cause, "resigned");
});

test("failover - a node that was found gone though it lived trusts no refusals for ten minutes", async (t) => {
  const { cluster, nodes } = await startCluster(t, ["a", "b"]);
  cluster.network.refuse("a");
  cluster.network.refuse("b");
  const { failover } = await untilNext(cluster, nodes);
  t.is(failover?.cause, "gone");
  await cluster.clock.advance(9 * minute);
  t.is(nodes[1]!.election.epoch, 2);
  await cluster.clock.advance(2 * minute);
  t.is(nodes[0]!.election.epoch, 3);
});

test("failover - a node that was deposed for silence trusts refusals as before", async (t) => {
  const { cluster, nodes } = await startCluster(t, ["a", "b"]);
  await cluster.clock.advance(15_000);
  nodes[0]!.freeze();
  await untilNext(cluster, nodes.slice(1));
  nodes[0]!.thaw();
  await cluster.clock.advance(10_000);
  nodes[1]!.kill();
  const { waitedMs, failover } = await untilNext(cluster, nodes);
  t.true(waitedMs <= 500, `${waitedMs} ms`);
  t.is(failover?.cause, "gone");
});

for (const seed of [1, 2, 3]) {
  test(`failover - a link cut between the leader and all standbys gives few changes of leader (seed ${seed})`, async (t) => {
    const { cluster, nodes } = await startCluster(t, ["a", "b", "c"], seed);
    await cluster.clock.advance(20 * minute);
    cluster.network.cut("a");
    let unled = 0;
    const epochs = new Set<number>();
    for (let second = 0; second < 300; second++) {
      await cluster.clock.advance(1000);
      const leader = nodes.findLast(({ election }) => election.role === "leader");
      if (leader === undefined) unled++;
      else epochs.add(leader.election.epoch);
    }
    t.true(epochs.size > 1 && epochs.size <= 6, `epochs ${[...epochs].join(" ")}`);
    t.is(unled, 0);
    cluster.network.mend();
    await cluster.clock.advance(10 * minute);
    t.is(nodes.filter(({ election }) => election.role === "leader").length, 1);
  });
}

for (const seed of [1, 2, 3, 4, 5, 6, 7, 8]) {
  test(`failover - many standbys at once do not fight over slow storage (seed ${seed})`, async (t) => {
    const { cluster, nodes } = await startCluster(t, ["a", "b", "c", "d", "e", "f"], seed);
    for (const { faults } of nodes) {
      for (const call of ["properties", "setMetadata", "acquireLease", "breakLease"] as const) {
        faults.set(call, async (forward) => {
          await new Promise<void>((resolve) => void cluster.clock.timer(100 * cluster.clock.random(), resolve));
          return forward();
        });
      }
    }
    nodes[0]!.kill();
    const { waitedMs } = await untilNext(cluster, nodes.slice(1));
    t.true(waitedMs <= 1500, `${waitedMs} ms`);
    await cluster.clock.advance(10 * minute);
    const { epoch } = leaderOf(nodes)!.election;
    t.true(epoch <= 3, `epoch ${epoch}`);
    for (const { election } of nodes.slice(1)) t.is(election.epoch, epoch);
  });
}

test("failover - who claimed has time to take the lease before another claims", async (t) => {
  const { cluster, nodes } = await startCluster(t, ["a", "b", "c"]);
  for (const { faults } of nodes) {
    faults.set("acquireLease", async (forward) => {
      await new Promise<void>((resolve) => void cluster.clock.timer(400, resolve));
      return forward();
    });
  }
  nodes[0]!.kill();
  await untilNext(cluster, nodes.slice(1));
  await cluster.clock.advance(2000);
  for (const { election } of nodes.slice(1)) t.is(election.epoch, 2);
});

test("failover - nodes with other lease and suspicion times lead in turn, one at a time", async (t) => {
  const cluster = createCluster(t);
  const short = { ...electionSettings, renewMs: 1000, pollMs: 500 };
  const long = { ...electionSettings, leaseSeconds: 60, renewMs: 20_000, pollMs: minute };
  const a = await cluster.start("a", { settings: long, suspicionMs: 20_000 });
  await cluster.clock.advanceUntil(() => a.election.role === "leader", 1000);
  const b = await cluster.start("b", { settings: short, suspicionMs: 500 });
  await cluster.clock.advance(minute);
  t.is(a.election.epoch, 1);

  a.freeze();
  const first = await untilNext(cluster, [b]);
  t.true(first.waitedMs <= 1500, `${first.waitedMs} ms`);
  a.thaw();
  await cluster.clock.advance(minute);
  t.is(a.election.role, "standby");
  t.is(a.election.leader?.nodeId, "b");

  b.freeze();
  const second = await untilNext(cluster, [a], 2 * minute);
  // By the other's lease, which is the shorter one, or by its own suspicion: whatever comes first.
  t.true(second.waitedMs <= 21_000, `${second.waitedMs} ms`);
  b.thaw();
  await cluster.clock.advance(minute);
  t.is(b.election.leader?.nodeId, "a");
});

const causes: [FailoverCause, Record<string, string>][] = [
  ["unknown", {}],
  ["unknown", { cause: "eclipsed" }],
  ["gone", { cause: "gone", gapms: "12", silences: "3" }],
];

for (const [cause, extra] of causes) {
  test(`failover - how the leader came to lead is told as far as it is known: ${JSON.stringify(extra)}`, async (t) => {
    const cluster = createCluster(t);
    const metadata = { epoch: "4", node: "old", endpoint: "old:1", since: "1", breaks: "0", brokenat: "0", ...extra };
    await cluster.store.createControl(controlName, metadata);
    await cluster.store.acquireLease(controlName, "0".repeat(32), 60);
    const { election } = await cluster.start("a");
    await cluster.clock.settle();
    const gapMs = "gapms" in extra ? 12 : undefined;
    t.deepEqual(election.leader, { nodeId: "old", endpoint: "old:1", epoch: 4, since: 1, failover: { cause, gapMs } });
  });
}
