import type { ExecutionContext } from "ava";

import { VaultError } from "../../src/errors.ts";
import type { Election } from "../../src/leader/election.ts";
import { controlCalls, createCluster, electionSettings, unreachable } from "./create-cluster.ts";
import type { Cluster, ClusterNode } from "./create-cluster.ts";
import { createRandom } from "./create-clock.ts";
import type { Fault } from "./create-faulty-store.ts";

interface SimulatedNode extends ClusterNode {
  readonly name: string;
  readonly leaseMs: number;
  /** When its fence was first seen to hold beside one of a newer epoch; undefined: it is not. */
  staleSince: number | undefined;
}

const nodesMax = 4;

/**
 * Runs nodes that come and go, stand still, resign, lose touch with storage and with each other, for `minutes` of their
 * time, then mends everything. Their leases and suspicion times differ. Checks at each step that no epoch has two owners
 * and that a deposed leader's fence ends within its lease's length; at the end that one node leads and stays.
 */
export async function simulateElection(t: ExecutionContext, seed: number, minutes: number): Promise<void> {
  const cluster = createCluster(t, seed);
  const random = createRandom(seed * 7919);
  const nodes = new Map<string, SimulatedNode>();
  const check = createChecks(t, cluster, nodes, seed);
  let started = 0;

  for (const until = cluster.clock.monotonic() + minutes * 60_000; cluster.clock.monotonic() < until;) {
    if (nodes.size < nodesMax) {
      const name = `n${started++}`;
      nodes.set(name, await startNode(cluster, name, random));
    }
    disturb(cluster, nodes, random);
    for (const until = cluster.clock.monotonic() + random() * 10_000; cluster.clock.monotonic() < until;) {
      await cluster.clock.advance(random() * 1000);
      check();
    }
  }

  cluster.network.mend();
  for (const { faults, thaw } of nodes.values()) {
    thaw();
    for (const call of controlCalls) faults.set(call, undefined);
  }
  await cluster.clock.advance(2 * 60_000);
  check();
  const leaders = [...nodes.values()].filter(({ election }) => holds(election)).map(({ election }) => election);
  const [leader] = leaders;
  if (leader === undefined || leaders.length > 1) {
    return t.fail(`seed ${seed}: ${leaders.length} lead two minutes after all was mended`);
  }
  const { epoch } = leader;
  await cluster.clock.advance(5 * 60_000);
  check();
  t.is(leader.role, "leader", `seed ${seed}`);
  t.is(leader.epoch, epoch, `seed ${seed}`);
}

async function startNode(cluster: Cluster, name: string, random: () => number): Promise<SimulatedNode> {
  const leaseSeconds = 15 + Math.floor(random() * 20);
  const settings = {
    ...electionSettings,
    leaseSeconds,
    renewMs: 1000 + random() * 4000,
    pollMs: 500 + random() * 5000,
  };
  const node = await cluster.start(name, { settings, suspicionMs: 500 + random() * 5000 });
  return { ...node, name, leaseMs: leaseSeconds * 1000, staleSince: undefined };
}

function createChecks(t: ExecutionContext, cluster: Cluster, nodes: Map<string, SimulatedNode>, seed: number) {
  const owners = new Map<number, string>();
  return () => {
    const holding = [...nodes.values()].filter(({ election }) => holds(election));
    const newest = Math.max(0, ...holding.map(({ election }) => election.epoch));
    for (const { name, election } of holding) {
      const epoch = election.fence().epoch;
      const owner = owners.get(epoch) ?? name;
      if (owner !== name) t.fail(`seed ${seed}: epoch ${epoch} is ${name}'s and ${owner}'s`);
      owners.set(epoch, owner);
    }
    for (const node of nodes.values()) {
      const stale = holding.includes(node) && node.election.epoch < newest;
      node.staleSince = stale ? (node.staleSince ?? cluster.clock.monotonic()) : undefined;
      const staleMs = cluster.clock.monotonic() - (node.staleSince ?? Infinity);
      if (staleMs > node.leaseMs)
        t.fail(`seed ${seed}: ${node.name} holds its fence ${staleMs} ms after its successor`);
    }
  };
}

function holds(election: Election): boolean {
  try {
    election.fence().assertHeld();
    return true;
  } catch {
    return false;
  }
}

function disturb(cluster: Cluster, nodes: Map<string, SimulatedNode>, random: () => number): void {
  const pick = () => [...nodes.values()][Math.floor(random() * nodes.size)];
  const node = pick();
  if (node === undefined) return;
  const { name, election, faults } = node;
  const dice = random();
  if (dice < 0.08) {
    nodes.delete(name);
    node.kill();
  } else if (dice < 0.12) {
    nodes.delete(name);
    node.close();
  } else if (dice < 0.2) {
    void election.resign("the simulation says so", random() < 0.7 ? pick()?.name : undefined);
  } else if (dice < 0.35) {
    node.freeze();
    cluster.clock.timer(random() * 40_000, node.thaw);
  } else if (dice < 0.5) {
    const other = pick()?.name;
    cluster.network.cut(name, other === name ? undefined : other);
  } else if (dice < 0.53) {
    cluster.network.refuse(name);
  } else if (dice < 0.65) {
    cluster.network.mend();
  } else {
    const fault = dice < 0.75 ? unreachable : dice < 0.9 ? flaky(cluster, random) : undefined;
    for (const call of controlCalls) faults.set(call, fault);
  }
}

// Requests and answers are slow, lost, or carried out long after they were given up.
function flaky(cluster: Cluster, random: () => number): Fault {
  const wait = (ms: number) => new Promise<void>((resolve) => void cluster.clock.timer(ms, resolve));
  return async (forward) => {
    const dice = random();
    await wait(random() * 200);
    if (dice < 0.15) return unreachable();
    if (dice < 0.3) {
      wait(random() * 30_000)
        .then(forward)
        .catch(() => undefined);
      await wait(5000);
      throw new VaultError("indeterminate", "no answer came");
    }
    const answer = await forward();
    await wait(random() * 200);
    if (dice < 0.45) throw new VaultError("indeterminate", "the answer was lost");
    return answer;
  };
}
