import type { ExecutionContext } from "ava";

import { VaultError } from "../../src/errors.ts";
import type { Election } from "../../src/leader/election.ts";
import { controlCalls, createCluster, unreachable } from "./create-cluster.ts";
import type { Cluster, ClusterNode } from "./create-cluster.ts";
import { createRandom } from "./create-clock.ts";
import type { Fault } from "./create-faulty-store.ts";

/**
 * Runs nodes that come, go and lose touch with storage for `minutes` of their time, then mends everything. Checks at
 * each step that at most one node's fence holds and no epoch has two owners; at the end that one node leads and stays.
 * Only a node that is gone refuses connections, so no living leader is deposed.
 */
export async function simulateElection(t: ExecutionContext, seed: number, minutes: number): Promise<void> {
  const cluster = createCluster(t, seed);
  const random = createRandom(seed * 7919);
  const nodes = new Map<string, ClusterNode>();
  const owners = new Map<number, string>();
  let started = 0;

  const check = () => {
    const holding = [...nodes].filter(([, node]) => holds(node.election));
    if (holding.length > 1) t.fail(`seed ${seed}: ${holding.map(([name]) => name).join(" and ")} lead`);
    for (const [name, { election }] of holding) {
      const { epoch } = election.fence();
      const owner = owners.get(epoch) ?? name;
      if (owner !== name) t.fail(`seed ${seed}: epoch ${epoch} is ${name}'s and ${owner}'s`);
      owners.set(epoch, owner);
    }
  };

  for (const until = cluster.clock.monotonic() + minutes * 60_000; cluster.clock.monotonic() < until;) {
    if (nodes.size < 3) {
      const name = `n${started++}`;
      nodes.set(name, await cluster.start(name));
    }
    disturb(cluster, nodes, random);
    for (const until = cluster.clock.monotonic() + random() * 10_000; cluster.clock.monotonic() < until;) {
      await cluster.clock.advance(random() * 1000);
      check();
    }
  }

  for (const { faults } of nodes.values()) for (const call of controlCalls) faults.set(call, undefined);
  await cluster.clock.advance(60_000);
  check();
  const leader = [...nodes.values()].find(({ election }) => holds(election))?.election;
  if (leader === undefined) return t.fail(`seed ${seed}: nobody leads a minute after all was mended`);
  const { epoch } = leader;
  await cluster.clock.advance(5 * 60_000);
  t.is(leader.role, "leader", `seed ${seed}`);
  t.is(leader.epoch, epoch, `seed ${seed}`);
}

function holds(election: Election): boolean {
  try {
    election.fence().assertHeld();
    return true;
  } catch {
    return false;
  }
}

function disturb(cluster: Cluster, nodes: Map<string, ClusterNode>, random: () => number): void {
  const pick = [...nodes][Math.floor(random() * nodes.size)];
  if (pick === undefined) return;
  const [name, { election, faults }] = pick;
  const dice = random();
  if (dice < 0.12) {
    nodes.delete(name);
    // A killed process leaves its lease as it is; one that stops gives it back. Closing takes time, which goes on here.
    if (dice < 0.08) for (const call of controlCalls) faults.set(call, unreachable);
    void election.close();
    cluster.network.refuse(name);
  } else if (dice < 0.2) {
    void election.resign("the simulation says so");
  } else {
    const fault = dice < 0.4 ? unreachable : dice < 0.75 ? flaky(cluster, random) : undefined;
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
