/** A vault on files that counts what it reads from storage: for what a seek costs. */
import type { BlobStore } from "../../src/blob/blob-store.ts";
import { openFileStore } from "../../src/blob/file.ts";
import { systemClock } from "../../src/clock.ts";
import { loadConfig } from "../../src/config.ts";
import { createTcpProbe } from "../../src/leader/probe.ts";
import { silentLog } from "../../src/log.ts";
import { composeNode } from "../../src/node.ts";
import { createGrpcCaller } from "../../src/rpc/grpc-caller.ts";
import { createGrpcServer } from "../../src/rpc/grpc-server.ts";
import { serveCommands } from "../worker-commands.ts";

/** What to serve. */
export interface ServeArgs {
  readonly directory: string;
}

/** What counts as a read of storage. */
const reads = ["read", "get", "properties", "list", "listFolders"] as const satisfies (keyof BlobStore)[];

/** For so long nothing is to have been read before the count is told: what is read ahead counts too. */
const quietMs = 15;

const count = { reads: 0 };

serveCommands({ serve, countReads });

async function serve({ directory }: ServeArgs): Promise<string> {
  const config = loadConfig({}, {});
  const clock = systemClock;
  const log = silentLog;
  const store = countCalls(await openFileStore(directory, clock));
  const server = createGrpcServer({ ...config, connectionAgeMsMax: undefined }, clock, log);
  const { keepaliveMs, keepaliveTimeoutMs, probeTimeoutMs: connectTimeoutMs } = config;
  const caller = createGrpcCaller({ keepaliveMs, keepaliveTimeoutMs, connectTimeoutMs }, clock);
  const probe = createTcpProbe(clock, connectTimeoutMs);
  const node = composeNode(config, { store, clock, log, caller, probe }, "bench");
  server.addHandlers(node.handlers);
  const endpoint = await server.listen("127.0.0.1:0");
  await node.start(endpoint);
  return endpoint;
}

function countCalls(store: BlobStore): BlobStore {
  const counted = reads.map((name) => {
    const call = store[name] as (...args: unknown[]) => unknown;
    const wrapped = (...args: unknown[]) => {
      count.reads++;
      return call.apply(store, args);
    };
    return [name, wrapped] as const;
  });
  return { ...store, ...Object.fromEntries(counted) };
}

/** How often storage was read since the start, when that has come to rest. */
async function countReads(): Promise<number> {
  let before: number;
  do {
    before = count.reads;
    await new Promise((resolve) => setTimeout(resolve, quietMs));
  } while (count.reads !== before);
  return before;
}
