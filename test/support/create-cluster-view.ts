import type { Leader } from "../../src/leader/leader.ts";
import { createObservable } from "../../src/leader/observed.ts";
import type { ClusterView, LeadershipState, LeadershipView } from "../../src/rpc/cluster-view.ts";

/** A node's view of the cluster that a test sets. */
export interface TestClusterView extends ClusterView {
  endpoint: string;
  /** Says who leads: this node where its id is the leader's. */
  lead(leader: Pick<Leader, "nodeId" | "endpoint" | "epoch"> | undefined, resigned?: LeadershipState["resigned"]): void;
}

/** Makes the view of a node that knows no leader. */
export function createClusterView(nodeId: string, endpoint = `${nodeId}:50051`): TestClusterView {
  const state = createObservable<LeadershipState>({ role: "standby", leader: undefined });
  const election: LeadershipView = {
    get role() {
      return state.value.role;
    },
    get leader() {
      return state.value.leader;
    },
    changes: (signal) => state.changes(signal),
  };
  return {
    nodeId,
    endpoint,
    version: "1.2.3",
    election,
    lead(named, resigned) {
      const failover = { cause: "gone", gapMs: 1234 } as const;
      const leader = named && { since: Date.UTC(2026, 0, 1), failover, ...named };
      state.set({ role: leader?.nodeId === nodeId ? "leader" : "standby", leader, resigned });
    },
  };
}
