/** What can happen to a cluster. Each disturbance ends when the cluster is whole again and publishes go on. */
import { sleep, systemClock } from "../../src/clock.ts";
import type { ClusterLeader, ClusterNode } from "./create-node-cluster.ts";
import type { FailoverRun } from "./run-failover.ts";
import { waitUntil } from "./wait-until.ts";

/** A disturbance that is over. Times are by the monotonic clock. */
export interface Disturbance {
  readonly startedAt: number;
  readonly endedAt: number;
}

/** A kind of disturbance. */
export type Disturb = (run: FailoverRun) => Promise<Disturbance>;

// Publishes that must be acknowledged before a disturbance counts as over.
const acknowledgementsAfter = 50;
const takeoverMsMax = 60_000;
const leaseMs = 15_000;
const storageFreezeMs = 20_000;

/** The leader's process is killed, and started again once another leads. */
export const killLeader: Disturb = (run) =>
  disturb(run, async ({ cluster }, { node, epoch }) => {
    await node.stop("SIGKILL");
    await cluster.waitForLeader(epoch, takeoverMsMax);
    await node.start();
  });

/** The leader is told to end, and started again once another leads. */
export const terminateLeader: Disturb = (run) =>
  disturb(run, async ({ cluster }, { node, epoch }) => {
    await Promise.all([node.stop("SIGTERM"), cluster.waitForLeader(epoch, takeoverMsMax)]);
    await node.start();
  });

/** Leadership is handed to another node. */
export const transferLeadership: Disturb = (run) =>
  disturb(run, async ({ cluster, random }, { node, epoch }) => {
    const others = cluster.nodes.filter((other) => other !== node);
    const successor = others[Math.floor(random() * others.length)]!;
    await askForTransfer(run, successor);
    const next = await cluster.waitForLeader(epoch, takeoverMsMax);
    if (next.node !== successor) throw new Error(`${next.node.name} leads instead of ${successor.name}`);
  });

/**
 * The leader is frozen in the middle of a write until another leads and has written, and for longer than its lease where
 * `pastLease`. Its write then arrives, late, and it goes on.
 */
export function freezeLeader(pastLease: boolean): Disturb {
  return (run) =>
    disturb(run, async ({ cluster, random }, { node, epoch }) => {
      const frozenAt = systemClock.monotonic();
      node.storage.set("held");
      await waitUntil(() => node.storage.heldWriteCount > 0, "a write is under way");
      node.freeze();
      try {
        await cluster.waitForLeader(epoch, takeoverMsMax);
        await run.waitForAcknowledgements(acknowledgementsAfter);
        if (pastLease) await wait(leaseMs + 500 - (systemClock.monotonic() - frozenAt));
      } finally {
        node.storage.set("open");
        if (random() < 0.5) await wait(random() * 200);
        node.thaw();
      }
    });
}

/** The leader cannot reach storage any more, until another leads. */
export const cutLeaderFromStorage: Disturb = (run) =>
  disturb(run, async ({ cluster }, { node, epoch }) => {
    node.storage.set("cut");
    try {
      await cluster.waitForLeader(epoch, takeoverMsMax);
      await run.waitForAcknowledgements(acknowledgementsAfter);
    } finally {
      node.storage.set("open");
    }
  });

/** What the leader asks of storage is done, but it hears of nothing. */
export const loseAnswers: Disturb = (run) =>
  disturb(run, async ({ random }, { node }) => {
    node.storage.set("deaf");
    await wait(50 + random() * 1000);
    node.storage.set("open");
  });

/** A standby cannot reach storage for a while. */
export function cutStandbyFromStorage(forMs: number): Disturb {
  return (run) =>
    disturb(run, async ({ cluster }, { node }) => {
      const standby = cluster.nodes.find((other) => other !== node)!;
      standby.storage.set("cut");
      await wait(forMs);
      standby.storage.set("open");
    });
}

/** No standby hears of the leader for a while, which clients and storage still reach. */
export function cutLeaderFromStandbys(forMs: number): Disturb {
  return (run) =>
    disturb(run, async (_run, { node }) => {
      await node.peers.set("held");
      await wait(forMs);
      await node.peers.set("open");
    });
}

/** No node hears of any other for a while. */
export function cutNodesApart(forMs: number): Disturb {
  return (run) =>
    disturb(run, async ({ cluster }) => {
      await Promise.all(cluster.nodes.map(({ peers }) => peers.set("held")));
      await wait(forMs);
      await Promise.all(cluster.nodes.map(({ peers }) => peers.set("open")));
    });
}

/** Storage stands still for 20 s. */
export const freezeStorage: Disturb = (run) =>
  disturb(run, async ({ cluster }) => {
    cluster.azurite.freeze();
    await wait(storageFreezeMs);
    cluster.azurite.thaw();
  });

/** All nodes are killed at once, and started again. */
export const killAllNodes: Disturb = (run) =>
  disturb(run, async ({ cluster }) => {
    await Promise.all(cluster.nodes.map((node) => node.stop("SIGKILL")));
    await Promise.all(cluster.nodes.map((node) => node.start()));
  });

/** Each node is told to end and started again, one after the other. */
export const restartAllNodes: Disturb = (run) =>
  disturb(run, async ({ cluster }) => {
    for (const node of cluster.nodes) {
      await node.stop("SIGTERM");
      await node.start();
      await run.waitForAcknowledgements(acknowledgementsAfter);
    }
  });

async function disturb(
  run: FailoverRun,
  what: (run: FailoverRun, leader: ClusterLeader) => Promise<void>,
): Promise<Disturbance> {
  const leader = await run.cluster.waitForLeader();
  const startedAt = systemClock.monotonic();
  await what(run, leader);
  await run.cluster.waitForLeader();
  await run.waitForAcknowledgements(acknowledgementsAfter);
  await run.waitForEveryStream();
  return { startedAt, endedAt: systemClock.monotonic() };
}

// A timer of the clock alone would not keep a script alive; the cluster's networks do.
function wait(delayMs: number): Promise<void> {
  return sleep(systemClock, Math.max(0, delayMs));
}

// A node that came back just now may not watch the leader yet.
async function askForTransfer({ client }: FailoverRun, successor: ClusterNode): Promise<void> {
  const knowsIt = async () =>
    (await client.getCluster()).nodes.some(({ endpoint }) => endpoint === successor.peers.endpoint);
  while (!(await knowsIt())) await wait(50);
  await client.transferLeadership(successor.peers.endpoint);
}
