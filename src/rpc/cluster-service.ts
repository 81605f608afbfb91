import type { MessageInitShape } from "@bufbuild/protobuf";
import type { FailoverSchema, NodeSchema } from "../../gen/messagevault/v1/cluster_pb.ts";
import { ClusterService, FailoverCause, NodeRole } from "../../gen/messagevault/v1/cluster_pb.ts";
import type { TransferLeadershipResponseSchema } from "../../gen/messagevault/v1/cluster_pb.ts";
import type { Clock } from "../clock.ts";
import { VaultError } from "../errors.ts";
import type { Failover, Leader } from "../leader/leader.ts";
import type { ClusterView, KnownNodes, Member } from "./cluster-view.ts";
import type { HandlerTable } from "./handlers.ts";
import { defineUnary } from "./handlers.ts";
import { notLeading, waitForSuccessor } from "./leader-route.ts";
import { toDuration, toTimestamp } from "./values.ts";

/** What a transfer of leadership needs. */
export interface TransferOptions {
  readonly cluster: ClusterView;
  readonly clock: Clock;
  /** The nodes that watch this one while it leads: those that can take over. */
  readonly watchers: Pick<KnownNodes, "watchers">;
  /** Ends this node's leadership in favour of the node with this id. Resolves when it leads no more. */
  readonly handOver: (successorId: string) => Promise<void>;
  /** How long the successor may take from then on, in milliseconds. */
  readonly limitMs: number;
}

const nobody: KnownNodes = { watchers: [], leader: undefined };

/** GetCluster: this node, and what it knows of the others. */
export function createClusterHandlers(cluster: ClusterView, known: KnownNodes = nobody): HandlerTable {
  return defineUnary(ClusterService.method.getCluster, async () => {
    const { leader } = cluster.election;
    const nodes = describeNodes(cluster, known);
    const node = nodes[0]!;
    if (leader === undefined) return { node, nodes };
    return {
      node,
      leader: nodes.find(({ id }) => id === leader.nodeId)!,
      epoch: BigInt(leader.epoch),
      leaderSince: toTimestamp(leader.since),
      nodes,
      lastFailover: toFailover(leader.failover),
    };
  });
}

/** TransferLeadership, where this node leads: elsewhere it throws `unavailable`. */
export function createTransferHandlers(options: TransferOptions): HandlerTable {
  return defineUnary(ClusterService.method.transferLeadership, async ({ node }, { signal }) => {
    const { cluster, clock, watchers, handOver, limitMs } = options;
    const { role, leader } = cluster.election;
    if (role !== "leader" || leader === undefined) throw notLeading(cluster);
    if (node === cluster.nodeId || node === cluster.endpoint) return toTransfer(leader, cluster.version);
    const successor = findSuccessor(watchers.watchers, cluster, node);
    await handOver(successor.id);
    const next = await waitForSuccessor(options.cluster, clock, cluster.nodeId, limitMs, signal);
    if (next !== undefined && next.nodeId !== cluster.nodeId) {
      return toTransfer(next, next.nodeId === successor.id ? successor.version : "");
    }
    const now = next === undefined ? "nobody is known to lead yet" : "this node leads again";
    throw new VaultError("indeterminate", `${successor.endpoint} did not take over within ${limitMs} ms: ${now}`);
  });
}

function findSuccessor(watchers: readonly Member[], { nodeId }: ClusterView, node: string): Member {
  const others = watchers.filter(({ id }) => id !== nodeId);
  const found = node === "" ? others[0] : others.find(({ id, endpoint }) => id === node || endpoint === node);
  if (found !== undefined) return found;
  const ready = others.length === 0 ? "no other node is ready" : `ready: ${others.map(describe).join(", ")}`;
  const message = node === "" ? `no other node is ready to lead` : `node ${node} is not ready to lead; ${ready}`;
  throw new VaultError("conflict", message, { resource: node });
}

function describe({ endpoint, id }: Member): string {
  return `${endpoint} (${id})`;
}

type NodeInit = MessageInitShape<typeof NodeSchema> & { readonly id: string };

/** This node first, then the leader, then who watches it. */
function describeNodes(cluster: ClusterView, known: KnownNodes): NodeInit[] {
  const { nodeId, endpoint, version, election } = cluster;
  const { leader } = election;
  const nodes = new Map<string, NodeInit>();
  const add = (member: Member) => {
    if (nodes.has(member.id)) return;
    const role = member.id === leader?.nodeId ? NodeRole.LEADER : NodeRole.STANDBY;
    nodes.set(member.id, { ...member, role });
  };
  add({ id: nodeId, endpoint, version });
  if (leader !== undefined) {
    const told = known.leader?.id === leader.nodeId ? known.leader.version : "";
    add({ id: leader.nodeId, endpoint: leader.endpoint, version: told });
  }
  for (const watcher of known.watchers) add(watcher);
  return [...nodes.values()];
}

function toTransfer({ nodeId, endpoint, epoch }: Leader, version: string) {
  const leader = { id: nodeId, endpoint, role: NodeRole.LEADER, version };
  return { leader, epoch: BigInt(epoch) } satisfies MessageInitShape<typeof TransferLeadershipResponseSchema>;
}

const causes: Readonly<Record<Failover["cause"], FailoverCause>> = {
  first: FailoverCause.FIRST_LEADER,
  resigned: FailoverCause.RESIGNED,
  expired: FailoverCause.EXPIRED,
  gone: FailoverCause.GONE,
  silent: FailoverCause.SILENT,
  unknown: FailoverCause.UNSPECIFIED,
};

function toFailover({ cause, gapMs }: Failover): MessageInitShape<typeof FailoverSchema> {
  return { cause: causes[cause], ...(gapMs === undefined ? {} : { gap: toDuration(Math.round(gapMs)) }) };
}
