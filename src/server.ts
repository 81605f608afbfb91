/**
 * Puts a vault on the network: opens storage, listens, starts the node, and closes all of it from the top down. What the
 * node is made of is in `node.ts`.
 */
import { readFile } from "node:fs/promises";
import { hostname } from "node:os";
import packageJson from "../package.json" with { type: "json" };
import type { BlobStore } from "./blob/blob-store.ts";
import { openStore } from "./blob/open-store.ts";
import type { Clock } from "./clock.ts";
import type { Config } from "./config.ts";
import { openHttpPort } from "./http-port.ts";
import type { HttpPort } from "./http-port.ts";
import { createTcpProbe } from "./leader/probe.ts";
import type { Log } from "./log.ts";
import { composeNode, type VaultNode } from "./node.ts";
import { createReadiness } from "./readiness.ts";
import { createGrpcCaller, type GrpcCallerSettings } from "./rpc/grpc-caller.ts";
import { createGrpcServer } from "./rpc/grpc-server.ts";
import { createHealth, type Health } from "./rpc/health.ts";
import { createReflection } from "./rpc/reflection.ts";
import type { Telemetry } from "./telemetry.ts";

/** What a vault takes from outside. */
export interface VaultPorts {
  readonly clock: Clock;
  readonly log: Log;
  /** Where it tells what happens; nowhere if absent. */
  readonly telemetry?: Telemetry | undefined;
  /** The metrics in Prometheus' text format, for the HTTP port; absent where they are off. */
  readonly metrics?: (() => Promise<string>) | undefined;
}

/** A vault that serves. */
export interface RunningVault {
  /** Where clients reach it: host:port. */
  readonly endpoint: string;
  /** Where its HTTP port is: host:port; undefined where it has none. */
  readonly httpAddress: string | undefined;
  /** Hands leadership over, answers what is pending, ends subscriptions, and closes storage. */
  close(): Promise<void>;
}

/** How long each layer has to close at the least, when the grace period is used up. */
const closeMsMin = 2000;

/** Opens storage, listens, takes part in the election, and serves. Throws a VaultError that says what to do. */
export async function startVault(config: Config, ports: VaultPorts): Promise<RunningVault> {
  const { clock, log, telemetry } = ports;
  const limits = {
    createContainer: config.createContainer,
    openFilesMax: config.openFilesMax,
    leaseTimeoutMs: config.leaseTimeoutMs,
    requestTimeoutMs: config.storageTimeoutMs,
    blobBytesPerSecondMax: config.blobBytesPerSecondMax,
    blobRequestsPerSecondMax: config.blobRequestsPerSecondMax,
    accountRequestsPerSecondMax: config.accountRequestsPerSecondMax,
  };
  const store = await openStore(config.storage, clock, log, limits, telemetry);
  try {
    return await serve(config, ports, store);
  } catch (error) {
    await store.close();
    throw error;
  }
}

async function serve(config: Config, ports: VaultPorts, store: BlobStore): Promise<RunningVault> {
  const { clock, log, telemetry } = ports;
  const server = createGrpcServer(await serverSettings(config), clock, log);
  const caller = createGrpcCaller(await callerSettings(config), clock);
  const probe = createTcpProbe(clock, config.probeTimeoutMs);
  const node = composeNode(config, { store, clock, log, telemetry, caller, probe }, packageJson.version);
  const health = createHealth();
  // Before it listens: a call that comes early must not be told that there is no such method.
  server.addHandlers(node.handlers);
  server.addLibraryService(health);
  server.addLibraryService(createReflection());
  const bound = await server.listen(`${config.host}:${config.port}`);
  const endpoint = config.advertisedEndpoint ?? reachable(bound);
  const started = new AbortController();
  const stopping = new AbortController();
  let http: HttpPort | undefined;
  try {
    const serving = () => started.signal.aborted && !stopping.signal.aborted;
    http = await openHttp(config, ports, store, node, serving);
    await node.start(endpoint);
  } catch (error) {
    await http?.close();
    await server.drain(0);
    caller.close();
    throw error;
  }
  started.abort();
  const following = followHealth(node, health, stopping.signal);
  return {
    endpoint,
    httpAddress: http?.address,
    async close() {
      stopping.abort();
      await following;
      health.setServing(false);
      health.setPublishing(false);
      const graceEndsAt = clock.monotonic() + config.shutdownGraceMs;
      const close = (layer: string, closing: Promise<unknown>) => {
        return closeWithin(Math.max(graceEndsAt - clock.monotonic(), closeMsMin), layer, closing, clock, log);
      };
      await close("leadership", node.leave());
      await server.drain(Math.max(graceEndsAt - clock.monotonic(), 0));
      await close("node", node.close());
      caller.close();
      await close("storage", store.close());
      await http?.close();
    },
  };
}

/** Opens the HTTP port, where there is to be one: before the node starts, so that this can be watched. */
async function openHttp(
  config: Config,
  { clock, log, metrics }: VaultPorts,
  store: BlobStore,
  node: VaultNode,
  serving: () => boolean,
): Promise<HttpPort | undefined> {
  const { httpPort, httpHost = config.host, leaseTimeoutMs: storageMsMax } = config;
  if (httpPort === undefined) return undefined;
  const leaderKnown = () => node.leadership.leader !== undefined;
  const hindrance = createReadiness({ store, clock, storageMsMax, serving, leaderKnown });
  return openHttpPort(httpHost, httpPort, { hindrance, metrics }, log);
}

/** Says that reads are served, from now on, and that publishes are while a leader is known. */
async function followHealth(node: VaultNode, health: Health, signal: AbortSignal): Promise<void> {
  health.setServing(true);
  for await (const { leader } of node.leadership.changes(signal)) health.setPublishing(leader !== undefined);
}

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

async function callerSettings(config: Config): Promise<GrpcCallerSettings> {
  const { tlsCert, tlsCa, suspicionMs, probeTimeoutMs: connectTimeoutMs } = config;
  // A link that takes nothing any more is given up about when its leader is: what was sent over it is answered then.
  const keepaliveMs = Math.min(config.keepaliveMs, suspicionMs);
  const keepaliveTimeoutMs = Math.min(config.keepaliveTimeoutMs, suspicionMs);
  const connection = { keepaliveMs, keepaliveTimeoutMs, connectTimeoutMs };
  if (tlsCert === undefined) return connection;
  return { ...connection, tls: { authorities: tlsCa === undefined ? undefined : await readFile(tlsCa) } };
}

/** An address that stands for all addresses is no place to send others to. */
function reachable(bound: string): string {
  return bound.replace(/^(0\.0\.0\.0|\[::\])(?=:\d+$)/, hostname());
}
