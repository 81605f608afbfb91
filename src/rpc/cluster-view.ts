/** The cluster as one node sees it: what the RPC layer knows of the election and of the other nodes. */
import type { Leader } from "../leader/leader.ts";

/** A node. */
export interface Member {
  /** New at each start of its process. */
  readonly id: string;
  /** Where others reach it: host:port. */
  readonly endpoint: string;
  readonly version: string;
}

/** What the election says now. */
export interface LeadershipState {
  readonly role: "leader" | "standby";
  /** Who leads, this node included; undefined while none is known. */
  readonly leader: Leader | undefined;
  /** This node's own last term, if it ended by its own word. */
  readonly resigned?: { readonly epoch: number; readonly successor: string | undefined } | undefined;
}

/** The election. */
export interface LeadershipView extends Pick<LeadershipState, "role" | "leader"> {
  /** The state now, and each newer one, until `signal` is aborted or this election is over. */
  changes(signal: AbortSignal): AsyncIterable<LeadershipState>;
}

/** What this node is, and what it knows of who leads. */
export interface ClusterView {
  /** This node's id, new at each start. */
  readonly nodeId: string;
  /** Where clients and other nodes reach this node: host:port. */
  readonly endpoint: string;
  /** The version of this node's software. */
  readonly version: string;
  /** Read anew for each use: a node that starts has another one first. */
  readonly election: LeadershipView;
}

/** Nodes that are known beside this one. */
export interface KnownNodes {
  /** Those that watch the leader, in the order in which they came; this node may be among them. */
  readonly watchers: readonly Member[];
  /** The leader that this node follows, as it told of itself; undefined where it did not yet. */
  readonly leader: Member | undefined;
}

/** All of the election's state as it is now; undefined where it has none to tell. */
export async function readState({ election }: ClusterView): Promise<LeadershipState | undefined> {
  for await (const state of election.changes(new AbortController().signal)) return state;
  return undefined;
}
