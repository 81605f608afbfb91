import { createRequire } from "node:module";
import type { ExecutionContext } from "ava";
import type { AzureStoreSettings } from "../../src/blob/azure.ts";
import { openAzureStore } from "../../src/blob/azure.ts";
import { azuriteConnectionString } from "../../src/blob/azurite.ts";
import type { BlobStore } from "../../src/blob/blob-store.ts";
import type { Clock } from "../../src/clock.ts";
import { systemClock } from "../../src/clock.ts";
import { noTelemetry } from "../../src/telemetry.ts";
import type { Telemetry } from "../../src/telemetry.ts";

/** An Azurite in the test's own process, with its data in memory. */
export interface TestAzurite {
  /** Where it listens: http://127.0.0.1:PORT. */
  readonly endpoint: string;
  /** A storage setting of the vault: the account's connection string with a container of this test. */
  readonly setting: string;
  /** Opens the container, by way of `endpoint` (of a proxy) if one is given. Closed when the test ends. */
  open(
    settings?: Partial<AzureStoreSettings>,
    endpoint?: string,
    clock?: Clock,
    telemetry?: Telemetry,
  ): Promise<BlobStore>;
}

interface Server {
  start(): Promise<void>;
  close(): Promise<void>;
  getHttpServerAddress(): string;
}

// Azurite has no type declarations. Loading it takes a second, starting it a few milliseconds.
function createServer(): Server {
  const require = createRequire(import.meta.url);
  const { default: BlobServer } = require("azurite/dist/src/blob/BlobServer");
  const { default: BlobConfiguration } = require("azurite/dist/src/blob/BlobConfiguration");
  const { MemoryExtentChunkStore } = require("azurite/dist/src/common/persistence/MemoryExtentStore");
  const [noLog, strict, skipApiVersionCheck, noTls, inMemory] = [false, false, true, "", true];
  const memory = new MemoryExtentChunkStore(1024 ** 3);
  const place = ["127.0.0.1", 0, undefined, "blob.json", "extent.json", []];
  const modes = [noLog, undefined, noLog, undefined, strict, skipApiVersionCheck];
  const rest = [noTls, noTls, noTls, undefined, false, inMemory, memory];
  const configuration = new BlobConfiguration(...place, ...modes, ...rest);
  return new BlobServer(configuration);
}

/** Starts an Azurite that ends with the test. */
export async function createAzurite(t: ExecutionContext): Promise<TestAzurite> {
  const server = createServer();
  await server.start();
  t.teardown(() => server.close());
  const endpoint = server.getHttpServerAddress();
  const container = "test";
  const target = { connectionString: azuriteConnectionString(endpoint), container };
  await (await openAzureStore(target, systemClock, { createContainer: true })).close();
  return {
    endpoint,
    setting: `${azuriteConnectionString(endpoint)}Container=${container}`,
    async open(settings = {}, through = endpoint, clock = systemClock, telemetry = noTelemetry) {
      const target = { connectionString: azuriteConnectionString(through), container };
      const store = await openAzureStore(target, clock, settings, telemetry);
      t.teardown(() => store.close());
      return store;
    },
  };
}
