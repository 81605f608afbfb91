import type { ExecutionContext } from "ava";
import type { MemoryStore } from "../../src/blob/memory.ts";
import type { Vault } from "../../src/stream/vault.ts";
import type { ManualClock } from "./create-clock.ts";
import { createEngine } from "./create-engine.ts";
import type { EngineOptions, TestEngine, TestNode } from "./create-engine.ts";
import { createFaultyStore } from "./create-faulty-store.ts";
import type { FaultyStore } from "./create-faulty-store.ts";

/** One node of a vault, with its own way to storage. */
export interface GroupNode extends TestNode {
  readonly faulty: FaultyStore;
  /** How many requests to storage it has made. */
  readonly requests: number;
}

/** Nodes on one store, of which one leads at a time, or none. */
export interface NodeGroup {
  readonly engine: TestEngine;
  readonly clock: ManualClock;
  readonly memory: MemoryStore;
  readonly nodes: readonly GroupNode[];
  /** Gives up the leader, if there is one: nobody leads then, and nobody tells of commits. */
  depose(): void;
  /** Makes a node the leader of the next epoch. Unless `fed` is false the others hear of its commits. */
  lead(node: GroupNode, fed?: boolean): void;
  /** From now on the others hear of the leader's commits. */
  feed(): void;
  /** Makes a node the leader, and the one before does not hear of it yet. */
  usurp(node: GroupNode): void;
  /** Tells the one that led before `usurp`. */
  tell(): void;
}

/** Opens `count` nodes on an empty store in memory. None of them leads. */
export function createNodes(t: ExecutionContext, count: number, options: EngineOptions = {}): NodeGroup {
  const engine = createEngine(t, options);
  const nodes = Array.from({ length: count }, () => openNode(engine));
  let epoch = 0;
  let leader: GroupNode | undefined;
  let deceived: GroupNode | undefined;
  let feeds = new AbortController();

  function cutFeeds(): void {
    feeds.abort();
    feeds = new AbortController();
    for (const node of nodes) node.vault.followed.feedLost();
  }

  function stop(node: GroupNode | undefined): void {
    node?.leadership.depose();
    node?.vault.abandon();
  }

  function begin(node: GroupNode, fed: boolean): void {
    leader = node;
    node.leadership.lead(++epoch);
    node.vault.lead();
    if (fed) feed();
  }

  function feed(): void {
    if (leader === undefined) return;
    for (const other of nodes) if (other !== leader) void pass(leader.vault, other.vault, feeds.signal);
  }

  t.teardown(() => feeds.abort());
  return {
    engine,
    clock: engine.clock,
    memory: engine.memory,
    nodes,
    depose() {
      cutFeeds();
      stop(leader);
      leader = undefined;
    },
    lead(node, fed = true) {
      cutFeeds();
      if (leader !== node) stop(leader);
      begin(node, fed);
    },
    feed,
    usurp(node) {
      cutFeeds();
      deceived = leader;
      begin(node, true);
    },
    tell() {
      stop(deceived);
      deceived = undefined;
    },
  };
}

function openNode(engine: TestEngine): GroupNode {
  const faulty = createFaultyStore(engine.memory);
  const node = engine.open({ standby: true, store: faulty.store });
  return {
    ...node,
    faulty,
    get requests() {
      return faulty.calls.values().reduce((sum, calls) => sum + calls, 0);
    },
  };
}

async function pass(from: Vault, to: Vault, signal: AbortSignal): Promise<void> {
  to.followed.feedStarted();
  for await (const ends of from.feed.follow(signal)) {
    if (signal.aborted) return;
    to.followed.learn(ends);
  }
}
