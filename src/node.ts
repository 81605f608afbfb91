/**
 * A node of the vault, without what carries its calls and without its storage: what they are is for `server.ts`, or for
 * a simulation, to say. Everything else is put together here, from the streams up.
 */
import { type BlobStore, writeBytesMax } from "./blob/blob-store.ts";
import type { Clock } from "./clock.ts";
import type { Config } from "./config.ts";
import { VaultError } from "./errors.ts";
import { type Election, type ElectionState, startElection } from "./leader/election.ts";
import type { Probe } from "./leader/probe.ts";
import type { Log } from "./log.ts";
import type { Caller } from "./rpc/caller.ts";
import { createClusterHandlers, createTransferHandlers } from "./rpc/cluster-service.ts";
import type { ClusterView, KnownNodes } from "./rpc/cluster-view.ts";
import { createForwarding } from "./rpc/forwarding.ts";
import type { HandlerTable } from "./rpc/handlers.ts";
import { waitForSuccessor } from "./rpc/leader-route.ts";
import { createMembers, type Members } from "./rpc/members.ts";
import { observeHandlers } from "./rpc/observe-calls.ts";
import { createPeerHandlers } from "./rpc/peer-service.ts";
import { createPeerWatch, type PeerWatch } from "./rpc/peer-watch.ts";
import { createStreamHandlers } from "./rpc/stream-service.ts";
import { createVaultHandlers } from "./rpc/vault-service.ts";
import { ByteCache } from "./segment/byte-cache.ts";
import { createBlockCache } from "./segment/reader.ts";
import { batchBytesMax } from "./segment/commit.ts";
import type { Engine } from "./stream/engine.ts";
import { runRetention } from "./stream/retention.ts";
import { TailBudget } from "./stream/tail-cache.ts";
import { Vault } from "./stream/vault.ts";
import { noTelemetry, type Telemetry } from "./telemetry.ts";

/** What a node takes from outside. */
export interface NodePorts {
  readonly store: BlobStore;
  readonly clock: Clock;
  readonly log: Log;
  /** Where it tells what happens; nowhere if absent. */
  readonly telemetry?: Telemetry | undefined;
  /** Calls other nodes. */
  readonly caller: Caller;
  /** Looks whether another node's process is there. */
  readonly probe: Probe;
}

/** A node. */
export interface VaultNode {
  /** Every method, there from the beginning: a call that comes early is told to try again. */
  readonly handlers: HandlerTable;
  /** Who leads, as this node knows it. */
  readonly leadership: ClusterView["election"];
  /** What its streams share: for those who measure. */
  readonly engine: Engine;
  /**
   * Takes part in the election as `endpoint`, where others reach this node already. Resolves when it is known who leads,
   * or after `firstLookMs`. Throws a VaultError that says what to do where storage cannot be used.
   */
  start(endpoint: string): Promise<void>;
  /** Before calls are drained: hands leadership over if it leads and another node is ready; else it does so at the end. */
  leave(): Promise<void>;
  /** After calls were drained: closes everything from the top down. */
  close(): Promise<void>;
}

/** How long a start waits to learn who leads before it serves all the same. */
const firstLookMs = 2000;

/** What a client is told to wait that calls while the node starts. */
const startRetryAfterMs = 200;

/** What this node is. Until it takes part in the election it stands by, and knows of no leader. */
interface Self extends ClusterView {
  endpoint: string;
  election: ClusterView["election"] & Pick<Election, "fence" | "claimAbove">;
}

/** The parts of a node. */
interface Parts {
  readonly config: Config;
  readonly ports: NodePorts;
  readonly self: Self;
  readonly engine: Engine;
  readonly vault: Vault;
  readonly members: Members;
  readonly watch: PeerWatch;
  /** Whether leadership is being handed over. */
  handingOver: boolean;
  /** Aborted when nobody is to be waited for any more. */
  readonly leaving: AbortController;
}

/** Puts a node together. Nothing happens until it is started. `version` is its software's. */
export function composeNode(config: Config, ports: NodePorts, version: string): VaultNode {
  const { clock } = ports;
  const self: Self = { nodeId: clock.id(), endpoint: "", version, election: standingBy };
  const engine = createEngine(config, ports, self);
  const vault = new Vault(engine);
  const watch = createPeerWatch({ ...ports, self, sink: vault.followed, settings: config });
  const members = createMembers(clock);
  const leaving = new AbortController();
  const parts: Parts = { config, ports, self, engine, vault, members, watch, handingOver: false, leaving };
  const stopping = new AbortController();
  const running: Promise<void>[] = [];
  let election: Election | undefined;
  return {
    handlers: createHandlers(parts),
    get leadership() {
      return self.election;
    },
    engine,
    async start(endpoint) {
      self.endpoint = endpoint;
      const { leaseSeconds, renewMs, electionPollMs: pollMs, clockSkewMsMax } = config;
      const settings = { leaseSeconds, renewMs, pollMs, clockSkewMsMax };
      election = await startElection({ ...ports, nodeId: self.nodeId, endpoint, settings, watch });
      self.election = election;
      running.push(followElection(election, vault), runRetention(engine, vault, stopping.signal));
      await firstLook(election, clock);
    },
    async leave() {
      stopping.abort();
      const successor = members.list.find(({ id }) => id !== self.nodeId)?.id;
      const leads = self.election.role === "leader";
      if (!leads) await election?.resign("this node is shutting down", undefined, true);
      // A leader that nobody waits for leads until its streams are closed, which writes their checkpoints.
      if (leads && successor !== undefined) {
        await handOver(parts, "this node is shutting down", successor, true);
        await waitForSuccessor(self, clock, self.nodeId, config.handOverMs, leaving.signal);
      }
      leaving.abort();
    },
    async close() {
      stopping.abort();
      leaving.abort();
      await vault.close();
      watch.close();
      await election?.close();
      await Promise.all(running);
    },
  };
}

const standingBy: Self["election"] = {
  role: "standby",
  leader: undefined,
  async *changes() {
    yield { role: "standby", leader: undefined };
  },
  fence: () => {
    throw new VaultError("unavailable", "this node is starting; try again", { retryAfterMs: startRetryAfterMs });
  },
  claimAbove: () => Promise.reject(new VaultError("unavailable", "this node is starting; try again")),
};

function createEngine(config: Config, { store, clock, log, telemetry = noTelemetry }: NodePorts, self: Self): Engine {
  const { segmentBytes, segmentAgeMs, retentionAgeMs, retentionBytes, producerWindowMs } = config;
  return {
    store,
    clock,
    log,
    telemetry,
    leadership: {
      get leads() {
        return self.election.role === "leader";
      },
      fence: () => self.election.fence(),
      claimAbove: (epoch) => self.election.claimAbove(epoch),
    },
    settings: {
      ...config,
      streamDefaults: { segmentBytes, segmentAgeMs, retentionAgeMs, retentionBytes, producerWindowMs },
    },
    caches: {
      blocks: createBlockCache(config.readCacheBytes, config.readsInFlightMax),
      indexes: new ByteCache(config.indexCacheBytes, config.readsInFlightMax),
      blockBytes: config.readBytes,
      readAheadBlocks: Math.ceil(config.readAheadBytes / config.readBytes),
    },
    tailBudget: new TailBudget(config.tailCacheBytes),
  };
}

function createHandlers(parts: Parts): HandlerTable {
  const { config, ports, self: cluster, vault, members, watch, leaving } = parts;
  const { clock, caller, telemetry = noTelemetry } = ports;
  const { recordBytesMax, keyBytesMax, commitBytesMax, heartbeatMs, handOverMs: limitMs } = config;
  const limits = { recordBytesMax, keyBytesMax, batchBytesMax: batchBytesMax - (writeBytesMax - commitBytesMax) };
  const known: KnownNodes = {
    get watchers() {
      return cluster.election.role === "leader" ? members.list : watch.watchers;
    },
    get leader() {
      return watch.leader;
    },
  };
  const transfer = (successor: string) => handOver(parts, "leadership is transferred", successor, false);
  const handlers = {
    ...createVaultHandlers(vault, limits, heartbeatMs, telemetry),
    ...createStreamHandlers(vault),
    ...createClusterHandlers(cluster, known),
    ...createTransferHandlers({ cluster, clock, watchers: known, handOver: transfer, limitMs }),
    ...createPeerHandlers({
      cluster,
      clock,
      heartbeatMs: config.peerHeartbeatMs,
      members,
      streamEnds: vault.feed,
    }),
  };
  const handingOver = () => parts.handingOver;
  const forwarding = createForwarding(handlers, {
    cluster,
    caller,
    clock,
    telemetry,
    handingOver,
    leaving: leaving.signal,
    settings: config,
  });
  return observeHandlers(forwarding, clock, telemetry);
}

/** Stores what was accepted, and lets `successor` lead, or any node. */
async function handOver(parts: Parts, reason: string, successor: string | undefined, forGood: boolean): Promise<void> {
  const { vault, self, config } = parts;
  const election = self.election as Election;
  parts.handingOver = true;
  try {
    await vault.handOver(config.handOverMs);
    await election.resign(reason, successor, forGood);
  } finally {
    parts.handingOver = false;
  }
}

/** Tells the streams whenever this node begins or ends to lead, until the election is over. */
async function followElection(election: Election, vault: Vault): Promise<void> {
  let ledUnder: number | undefined;
  for await (const { role, leader } of election.changes(new AbortController().signal)) {
    tellRole(vault, ledUnder, role, leader);
    ledUnder = role === "leader" ? leader?.epoch : undefined;
  }
}

function tellRole(
  vault: Vault,
  ledUnder: number | undefined,
  role: ElectionState["role"],
  leader: ElectionState["leader"],
): void {
  const leads = role === "leader";
  if (ledUnder !== undefined && !leads) vault.abandon();
  if (leads && leader?.epoch !== ledUnder) vault.lead();
}

/** Waits until it is known who leads: at most `firstLookMs`. */
async function firstLook(election: Election, clock: Clock): Promise<void> {
  const enough = new AbortController();
  const timer = clock.timer(firstLookMs, () => enough.abort());
  for await (const { leader } of election.changes(enough.signal)) {
    if (leader !== undefined) break;
  }
  timer.cancel();
}
