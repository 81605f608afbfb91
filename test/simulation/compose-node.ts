import type { BlobStore } from "../../src/blob/blob-store.ts";
import type { Clock } from "../../src/clock.ts";
import type { Config } from "../../src/config.ts";
import type { Probe } from "../../src/leader/probe.ts";
import type { Log } from "../../src/log.ts";
import type { Caller } from "../../src/rpc/caller.ts";
import type { HandlerTable } from "../../src/rpc/handlers.ts";
import type { Engine } from "../../src/stream/engine.ts";
import type { VaultSource } from "./source.ts";

export interface ComposedNode {
  readonly handlers: HandlerTable;
  readonly engine: Engine;
  readonly role: "leader" | "standby";
  readonly epoch: number;
  start(endpoint: string): Promise<void>;
  beginStop(): Promise<void>;
  close(): Promise<void>;
}

export interface NodePorts {
  readonly store: BlobStore;
  readonly clock: Clock;
  readonly log: Log;
  readonly caller: Caller;
  readonly probe: Probe;
}

const KiB = 1024;

export function composeNode(source: VaultSource, ports: NodePorts, config: Config): ComposedNode {
  const s = source as any;
  const { store, clock, log } = ports;
  const cluster: any = {
    nodeId: clock.id(),
    endpoint: "",
    version: "0",
    election: {
      role: "standby",
      leader: undefined,
      async *changes() {
        yield { role: "standby", leader: undefined };
      },
      fence() {
        throw new source.errors.VaultError("unavailable", "starting");
      },
    },
  };
  const engine: any = {
    store,
    clock,
    log,
    leadership: {
      get leads() {
        return cluster.election.role === "leader";
      },
      fence: () => cluster.election.fence(),
      claimAbove: (epoch: number) => cluster.election.claimAbove(epoch),
    },
    settings: { ...config, streamDefaults: config },
    caches: {
      blocks: new s.byteCache.ByteCache(config.readCacheBytes, config.readsInFlightMax),
      indexes: new s.byteCache.ByteCache(config.indexCacheBytes, config.readsInFlightMax),
      blockBytes: config.readBytes,
      readAheadBlocks: 1,
    },
    tailBudget: new s.tailCache.TailBudget(config.tailCacheBytes),
  };
  const vault = new s.vault.Vault(engine);
  const limits = { recordBytesMax: config.recordBytesMax, keyBytesMax: 1024, batchBytesMax: config.commitBytesMax - 8 * KiB };
  const members = s.members.createMembers(clock);
  let watch: any;
  let election: any;
  let handingOver = false;
  const known = {
    get watchers() {
      return cluster.election.role === "leader" ? members.list : (watch?.watchers ?? []);
    },
    get leader() {
      return watch?.leader;
    },
  };
  const handOver = async (successor: string | undefined) => {
    handingOver = true;
    await vault.handOver(config.handOverMs);
    await election.resign("leadership is handed over", successor);
    handingOver = false;
  };
  const local = {
    ...s.vaultService.createVaultHandlers(vault, limits, config.heartbeatMs),
    ...s.streamService.createStreamHandlers(vault),
    ...s.clusterService.createClusterHandlers(cluster, known),
    ...s.clusterService.createTransferHandlers({ cluster, clock, watchers: known, handOver, limitMs: config.leaderWaitMs }),
    ...s.peerService.createPeerHandlers({ cluster, clock, heartbeatMs: config.peerHeartbeatMs, members, streamEnds: vault.feed }),
  };
  const handlers = s.forwarding.createForwarding(local, {
    cluster,
    caller: ports.caller,
    clock,
    settings: config,
    handingOver: () => handingOver,
  });
  const stopping = new AbortController();
  const running: Promise<unknown>[] = [];
  return {
    handlers,
    engine,
    get role() {
      return cluster.election.role;
    },
    get epoch() {
      return cluster.election.epoch ?? 0;
    },
    async start(endpoint) {
      cluster.endpoint = endpoint;
      watch = s.peerWatch.createPeerWatch({ self: cluster, ...ports, sink: vault.followed, settings: config });
      const settings = { ...config, pollMs: config.electionPollMs };
      election = await s.election.startElection({ store, clock, log, nodeId: cluster.nodeId, endpoint, settings, watch });
      cluster.election = election;
      running.push(
        (async () => {
          let led: number | undefined;
          for await (const { role, leader } of election.changes(stopping.signal)) {
            const epoch = role === "leader" ? leader.epoch : undefined;
            if (led !== undefined && epoch === undefined) vault.abandon();
            if (epoch !== undefined && epoch !== led) vault.lead();
            led = epoch;
          }
        })(),
        s.retention.runRetention(engine, vault, stopping.signal),
      );
    },
    async beginStop() {
      if (cluster.election.role === "leader") await handOver(undefined);
    },
    async close() {
      stopping.abort();
      await vault.close();
      await Promise.all(running);
      watch?.close();
      await election?.close();
    },
  };
}
