/** A vault node as a process of the simulation: what `server.ts` makes of the operating system's ports, made of ours. */
import type { Config } from "../../src/config.ts";
import type { Log, LogFields } from "../../src/log.ts";
import type { Host } from "./host.ts";
import type { Network } from "./network.ts";
import type { BlobStore } from "../../src/blob/blob-store.ts";
import type { VaultNode } from "../../src/node.ts";
import type { Telemetry } from "../../src/telemetry.ts";
import { createRpcServer } from "./rpc-server.ts";
import type { VaultSource } from "./source.ts";
import type { StorageLink } from "./storage-link.ts";
import type { Trace } from "./trace.ts";

/** What a process uses in the place of its way to storage, and where it tells what happens. */
export type Equip = (host: Host, store: StorageLink) => { readonly store: BlobStore; readonly telemetry: Telemetry };

/** What a process is started with. */
export interface ProcessOptions {
  readonly source: VaultSource;
  readonly host: Host;
  readonly endpoint: string;
  readonly store: StorageLink;
  readonly network: Network;
  readonly config: Config;
  readonly trace: Trace;
  /** What its storage and its telemetry are instead, where somebody looks on. */
  readonly equip?: Equip | undefined;
  violate(check: string, what: string): void;
}

/** A node that runs. */
export interface NodeProcess {
  readonly host: Host;
  readonly store: StorageLink;
  readonly node: VaultNode;
  /** How many calls it answers just now. */
  readonly calls: number;
  /** Ends it in order, as a signal to terminate does. */
  stop(): Promise<void>;
}

/** Errors that a node may log. */
const expectedErrors = new Set(["this node cannot lead"]);

/** Starts a node. It takes calls at once. */
export function startNode(options: ProcessOptions): NodeProcess {
  const { source, host, endpoint, store, network, config, trace, violate } = options;
  const caller = network.caller(host, 2000);
  const probe = network.probe(host, config.probeTimeoutMs);
  const log = createTraceLog(host, trace, violate);
  const node = source.node.composeNode(
    config,
    { store, clock: host.clock, log, caller, probe, ...options.equip?.(host, store) },
    "simulated",
  );
  const fault = (path: string, error: unknown) => {
    violate("fault", `${host.name}: ${path}: ${error instanceof Error ? error.stack : String(error)}`);
  };
  const server = createRpcServer(source, host, node.handlers, trace, fault);
  const unlisten = network.listen(endpoint, host, server);
  host.onCrash(unlisten);
  const starting = node.start(endpoint).catch((error: unknown) => {
    violate("start", `${host.name} does not start: ${error instanceof Error ? error.message : String(error)}`);
  });
  return {
    host,
    store,
    node,
    get calls() {
      return server.calls;
    },
    async stop() {
      await starting;
      unlisten();
      await node.leave();
      await server.drain(config.shutdownGraceMs);
      await node.close();
      caller.close();
    },
  };
}

/** A log whose lines are part of the trace. */
function createTraceLog(host: Host, trace: Trace, violate: ProcessOptions["violate"]): Log {
  const note = (level: string, event: string, fields?: LogFields) => {
    trace.note(host.name, `${level}: ${event}${fields === undefined ? "" : ` ${describe(fields)}`}`);
  };
  return {
    debug: (event, fields) => note("debug", event, fields),
    info: (event, fields) => note("info", event, fields),
    warn: (event, fields) => note("warn", event, fields),
    error(event, fields) {
      note("error", event, fields);
      if (!expectedErrors.has(event))
        violate("log", `${host.name}: ${event} ${fields === undefined ? "" : describe(fields)}`);
    },
  };
}

function describe(fields: LogFields): string {
  return Object.entries(fields)
    .map(([name, value]) => `${name}=${value instanceof Error ? value.message : String(value)}`)
    .join(" ");
}
