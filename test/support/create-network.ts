import type { Clock } from "../../src/clock.ts";
import type { Election } from "../../src/leader/election.ts";
import type { Leader } from "../../src/leader/leader.ts";
import { createObservable } from "../../src/leader/observed.ts";
import type { Evidence, LeaderWatch } from "../../src/leader/watch.ts";

/** The links between the nodes of a cluster, over which they watch each other. */
export interface Network {
  /** Cuts the link between two nodes, or between one and all others: what is sent vanishes. */
  cut(one: string, other?: string): void;
  /** Mends what was cut. */
  mend(): void;
  /** From now on connections to a node are refused, whether it runs or not. */
  refuse(name: string): void;
  /** A node's process: its watch, to be bound to its election once that has begun. */
  join(options: MemberOptions): Member;
}

/** What a node that joins a network is. */
export interface MemberOptions {
  readonly name: string;
  readonly nodeId: string;
  readonly endpoint: string;
  readonly clock: Clock;
  /** How long a leader may be silent before it is suspected, in milliseconds. */
  readonly suspicionMs: number;
  /** Whether the process stands still. */
  readonly frozen: () => boolean;
}

/** A node in a network. */
export interface Member {
  readonly watch: LeaderWatch;
  /** Tells watchers what becomes of this election. */
  bind(election: Election): void;
  /** The process ends. */
  leave(): void;
}

interface Node extends MemberOptions {
  election: Election | undefined;
  /** Looks after the leader that this node follows. */
  look: () => void;
}

// How often a watch listens for a heartbeat.
const heartbeatMs = 500;

/** Makes a network without nodes. */
export function createNetwork(): Network {
  const nodes = new Map<string, Node>();
  const cuts = new Set<string>();
  const refusing = new Set<string>();
  const linkOf = (one: string, other: string) => [one, other].toSorted().join("-");

  /** What answers at an endpoint: a node, nobody, or a refusal. */
  function reach(from: Node, endpoint: string): Node | "silent" | "refused" {
    const name = endpoint.split(":", 1)[0] ?? "";
    if (cuts.has(from.name) || cuts.has(name) || cuts.has(linkOf(from.name, name))) return "silent";
    const target = [...nodes.values()].findLast((node) => node.endpoint === endpoint);
    if (target === undefined || refusing.has(name)) return "refused";
    return target.frozen() ? "silent" : target;
  }

  return {
    cut(one, other) {
      cuts.add(other === undefined ? one : linkOf(one, other));
    },
    mend() {
      cuts.clear();
      refusing.clear();
    },
    refuse(name) {
      refusing.add(name);
    },
    join(options) {
      const node: Node = { ...options, election: undefined, look: () => undefined };
      nodes.set(options.nodeId, node);
      const watch = createWatch(node, (endpoint) => reach(node, endpoint));
      return {
        watch,
        bind(election) {
          node.election = election;
          void tellWatchers(election, nodes);
        },
        leave() {
          nodes.delete(options.nodeId);
        },
      };
    },
  };
}

async function tellWatchers(election: Election, nodes: ReadonlyMap<string, Node>): Promise<void> {
  for await (const { resigned } of election.changes(new AbortController().signal)) {
    if (resigned !== undefined) for (const node of nodes.values()) node.look();
  }
}

function createWatch(node: Node, reach: (endpoint: string) => Node | "silent" | "refused"): LeaderWatch {
  const { clock, suspicionMs } = node;
  const evidence = createObservable<Evidence>({ kind: "none" });
  let followed: Leader | undefined;
  let heardAt: number | undefined;
  let lookedAt = 0;
  let silentMs = 0;
  let timer = clock.timer(0, () => undefined);

  const show = (next: Evidence) => {
    if (next.kind !== evidence.value.kind) evidence.set(next);
  };

  const hear = (answering: Node, leader: Leader) => {
    const { election, nodeId } = answering;
    // Another process at its address.
    if (nodeId !== leader.nodeId) return show({ kind: "silent" });
    silentMs = 0;
    heardAt = clock.monotonic();
    if (election?.role === "leader" && election.epoch === leader.epoch) return show({ kind: "none" });
    const resigned = election?.state.resigned;
    show({ kind: "resigned", successor: resigned?.epoch === leader.epoch ? resigned.successor : undefined });
  };

  const look = () => {
    if (followed === undefined || node.frozen()) return;
    const answer = reach(followed.endpoint);
    // A node that stood still itself suspects nobody for that.
    silentMs += Math.min(clock.monotonic() - lookedAt, 2 * heartbeatMs);
    lookedAt = clock.monotonic();
    if (typeof answer === "object") return hear(answer, followed);
    if (answer === "refused") show({ kind: "gone" });
    else if (silentMs >= suspicionMs) show({ kind: "silent" });
  };

  const keepLooking = () => {
    look();
    timer = clock.timer(heartbeatMs, keepLooking);
  };

  node.look = look;
  return {
    evidence,
    get heardAt() {
      return heardAt;
    },
    follow(leader) {
      if (leader?.nodeId === followed?.nodeId && leader?.epoch === followed?.epoch) return;
      timer.cancel();
      followed = leader;
      heardAt = undefined;
      silentMs = 0;
      lookedAt = clock.monotonic();
      evidence.set({ kind: "none" });
      if (leader !== undefined) timer = clock.timer(0, keepLooking);
    },
  };
}
