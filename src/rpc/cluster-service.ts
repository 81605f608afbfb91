import type { MessageInitShape } from "@bufbuild/protobuf";
import type { NodeSchema } from "../../gen/messagevault/v1/cluster_pb.ts";
import { ClusterService, NodeRole } from "../../gen/messagevault/v1/cluster_pb.ts";
import type { HandlerTable } from "./handlers.ts";
import { defineUnary } from "./handlers.ts";
import { toTimestamp } from "./values.ts";

/** Who leads, as the RPC layer needs to know it. */
export interface LeaderView {
  readonly nodeId: string;
  /** host:port. */
  readonly endpoint: string;
  readonly epoch: number;
  /** Milliseconds since 1970. */
  readonly since: number;
}

/** The cluster as this node sees it: the election, and what this node is. */
export interface ClusterView {
  /** This node's id, new at each start. */
  readonly nodeId: string;
  /** Where clients reach this node: host:port. */
  readonly endpoint: string;
  /** The version of this node's software. */
  readonly version: string;
  /** Read anew for each call. */
  readonly election: {
    readonly role: "leader" | "standby";
    /** Undefined while none is known. */
    readonly leader: LeaderView | undefined;
  };
}

/** The methods of ClusterService. */
export function createClusterHandlers(cluster: ClusterView): HandlerTable {
  return defineUnary(ClusterService.method.getCluster, async () => {
    const { leader } = cluster.election;
    const node = describeSelf(cluster);
    if (leader === undefined) return { node, nodes: [node] };
    const leaderNode = leader.nodeId === cluster.nodeId ? node : describeLeader(leader);
    return {
      node,
      leader: leaderNode,
      epoch: BigInt(leader.epoch),
      leaderSince: toTimestamp(leader.since),
      nodes: leaderNode === node ? [node] : [node, leaderNode],
    };
  });
}

type NodeInit = MessageInitShape<typeof NodeSchema>;

function describeSelf({ nodeId, endpoint, version, election }: ClusterView): NodeInit {
  const role = election.role === "leader" ? NodeRole.LEADER : NodeRole.STANDBY;
  return { id: nodeId, endpoint, version, role };
}

/** Another node's version is not known from the election. */
function describeLeader({ nodeId, endpoint }: LeaderView): NodeInit {
  return { id: nodeId, endpoint, role: NodeRole.LEADER };
}
