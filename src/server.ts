/**
 * The composition root: opens a vault from the bottom up, storage first, and closes it from the top down. The one file
 * that sees every layer.
 */
import { readFile } from "node:fs/promises";
import { hostname } from "node:os";
import packageJson from "../package.json" with { type: "json" };
import { type BlobStore, writeBytesMax } from "./blob/blob-store.ts";
import { openStore } from "./blob/open-store.ts";
import type { Clock } from "./clock.ts";
import type { Config } from "./config.ts";
import { VaultError } from "./errors.ts";
import { type Election, startElection } from "./leader/election.ts";
import { createObservable } from "./leader/observed.ts";
import type { Evidence, LeaderWatch } from "./leader/watch.ts";
import type { Log } from "./log.ts";
import { type ClusterView, createClusterHandlers } from "./rpc/cluster-service.ts";
import { createGrpcServer, type GrpcServer } from "./rpc/grpc-server.ts";
import { createHealth, type Health } from "./rpc/health.ts";
import { createReflection } from "./rpc/reflection.ts";
import { createStreamHandlers } from "./rpc/stream-service.ts";
import { createVaultHandlers } from "./rpc/vault-service.ts";
import { ByteCache } from "./segment/byte-cache.ts";
import { batchBytesMax } from "./segment/commit.ts";
import type { Engine } from "./stream/engine.ts";
import { runRetention } from "./stream/retention.ts";
import { TailBudget } from "./stream/tail-cache.ts";
import { Vault } from "./stream/vault.ts";

/** What a vault takes from outside. */
export interface VaultPorts {
  readonly clock: Clock;
  readonly log: Log;
}

/** A vault that serves. */
export interface RunningVault {
  /** Where clients reach it: host:port. */
  readonly endpoint: string;
  /** Answers what is pending, ends subscriptions, gives the lease back and closes storage. */
  close(): Promise<void>;
}

/** How long a start waits to learn who leads before it serves all the same. */
const firstLookMs = 2000;

/** What a client is told to wait that calls while the node starts. */
const startRetryAfterMs = 200;

/** How long each layer has to close at the least, when the grace period is used up. */
const closeMsMin = 2000;

/** Opens storage, listens, takes part in the election, and serves. Throws a VaultError that says what to do. */
export async function startVault(config: Config, { clock, log }: VaultPorts): Promise<RunningVault> {
  const store = await openStore(config.storage, clock, log, {
    openFilesMax: config.openFilesMax,
    leaseTimeoutMs: config.leaseTimeoutMs,
    requestTimeoutMs: config.storageTimeoutMs,
  });
  try {
    return await serve(config, clock, log, store);
  } catch (error) {
    await store.close();
    throw error;
  }
}

async function serve(config: Config, clock: Clock, log: Log, store: BlobStore): Promise<RunningVault> {
  const server = createGrpcServer(await serverSettings(config), clock, log);
  const node: Node = { nodeId: clock.id(), endpoint: "", version: packageJson.version, election: standingBy };
  const engine = createEngine(config, clock, log, store, node);
  const vault = new Vault(engine);
  const health = createHealth();
  // Before it listens: a call that comes early must not be told that there is no such method.
  addServices(server, config, vault, health, node);
  const bound = await server.listen(`${config.host}:${config.port}`);
  const endpoint = config.advertisedEndpoint ?? reachable(bound);
  try {
    const election = await elect(config, clock, log, store, node.nodeId, endpoint);
    Object.assign(node, { endpoint, election });
    const stopping = new AbortController();
    const following = followElection(election, vault, health, stopping.signal);
    const sweeping = runRetention(engine, vault, stopping.signal);
    await firstLook(election, clock);
    return {
      endpoint,
      async close() {
        stopping.abort();
        health.setServing(false);
        health.setPublishing(false);
        const graceEndsAt = clock.monotonic() + config.shutdownGraceMs;
        const close = (layer: string, closing: Promise<unknown>) => {
          return closeWithin(Math.max(graceEndsAt - clock.monotonic(), closeMsMin), layer, closing, clock, log);
        };
        await server.drain(config.shutdownGraceMs);
        await close("vault", vault.close());
        await close("followers", Promise.all([following, sweeping]));
        await close("election", election.close());
        await close("storage", store.close());
      },
    };
  } catch (error) {
    await server.drain(0);
    throw error;
  }
}

/** What this node is. Until it takes part in the election it stands by, and knows of no leader. */
interface Node extends ClusterView {
  endpoint: string;
  election: Pick<Election, "role" | "leader" | "fence" | "claimAbove">;
}

const standingBy: Node["election"] = {
  role: "standby",
  leader: undefined,
  fence: () => {
    throw new VaultError("unavailable", "this node is starting; try again", { retryAfterMs: startRetryAfterMs });
  },
  claimAbove: () => Promise.reject(new VaultError("unavailable", "this node is starting; try again")),
};

/** Waits for a layer to close. Where storage hangs it is left as it is: the next start recovers what it needs. */
async function closeWithin(
  limitMs: number,
  layer: string,
  closing: Promise<unknown>,
  clock: Clock,
  log: Log,
): Promise<void> {
  const { promise: late, resolve } = Promise.withResolvers<void>();
  const timer = clock.timer(limitMs, () => {
    log.warn("did not close in time", { layer, limitMs });
    resolve();
  });
  await Promise.race([closing, late]).finally(() => timer.cancel());
}

async function serverSettings(config: Config) {
  const { tlsCert, tlsKey } = config;
  const files = tlsCert === undefined || tlsKey === undefined ? [] : [readFile(tlsCert), readFile(tlsKey)];
  const [certificate, key] = await Promise.all(files);
  const tls = certificate === undefined || key === undefined ? undefined : { certificate, key };
  return {
    ...config,
    tls,
    connectionAgeMsMax: config.connectionAgeMsMax === 0 ? undefined : config.connectionAgeMsMax,
  };
}

/** Nobody is watched: leases alone say who leads. */
const unwatched: LeaderWatch = {
  follow() {},
  evidence: createObservable<Evidence>({ kind: "none" }),
  heardAt: undefined,
};

function elect(
  config: Config,
  clock: Clock,
  log: Log,
  store: BlobStore,
  nodeId: string,
  endpoint: string,
): Promise<Election> {
  const { leaseSeconds, renewMs, electionPollMs: pollMs, clockSkewMsMax } = config;
  const settings = { leaseSeconds, renewMs, pollMs, clockSkewMsMax };
  return startElection({ store, clock, log, nodeId, endpoint, settings, watch: unwatched });
}

function createEngine(config: Config, clock: Clock, log: Log, store: BlobStore, node: Node): Engine {
  const { segmentBytes, segmentAgeMs, retentionAgeMs, retentionBytes, producerWindowMs } = config;
  return {
    store,
    clock,
    log,
    leadership: {
      get leads() {
        return node.election.role === "leader";
      },
      fence: () => node.election.fence(),
      claimAbove: (epoch) => node.election.claimAbove(epoch),
    },
    settings: {
      ...config,
      streamDefaults: { segmentBytes, segmentAgeMs, retentionAgeMs, retentionBytes, producerWindowMs },
    },
    caches: {
      blocks: new ByteCache(config.readCacheBytes, config.readsInFlightMax),
      indexes: new ByteCache(config.indexCacheBytes, config.readsInFlightMax),
      blockBytes: config.readBytes,
      readAheadBlocks: Math.ceil(config.readAheadBytes / config.readBytes),
    },
    tailBudget: new TailBudget(config.tailCacheBytes),
  };
}

/** Tells health and streams when this node begins or ends to lead. */
async function followElection(election: Election, vault: Vault, health: Health, signal: AbortSignal): Promise<void> {
  let led = false;
  for await (const { role } of election.changes(signal)) {
    const leads = role === "leader";
    health.setPublishing(leads);
    health.setServing(leads);
    if (led && !leads) vault.abandon();
    led = leads;
  }
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

/** An address that stands for all addresses is no place to send others to. */
function reachable(bound: string): string {
  return bound.replace(/^(0\.0\.0\.0|\[::\])(?=:\d+$)/, hostname());
}

function addServices(server: GrpcServer, config: Config, vault: Vault, health: Health, cluster: ClusterView): void {
  const { recordBytesMax, keyBytesMax, commitBytesMax } = config;
  const limits = { recordBytesMax, keyBytesMax, batchBytesMax: batchBytesMax - (writeBytesMax - commitBytesMax) };
  server.addHandlers(createVaultHandlers(vault, limits, config.heartbeatMs));
  server.addHandlers(createStreamHandlers(vault));
  server.addHandlers(createClusterHandlers(cluster));
  server.addLibraryService(health);
  server.addLibraryService(createReflection());
}
