import path from "node:path";
import type { Clock } from "../clock.ts";
import { VaultError } from "../errors.ts";
import type { Log } from "../log.ts";
import { silentLog } from "../log.ts";
import { noTelemetry, type Telemetry } from "../telemetry.ts";
import type { AzureStoreSettings } from "./azure.ts";
import type { BlobReader, BlobStore } from "./blob-store.ts";
import { checkDirectory, openFileReader } from "./file-reader.ts";
import { nodeFileSystem } from "./file-system.ts";
import type { FileStoreSettings } from "./file.ts";
import { openFileStore } from "./file.ts";
import { createMemoryStore } from "./memory.ts";
import type { AzureModel } from "./modelled-azure.ts";
import { azureModelDefaults, createModelledAzure } from "./modelled-azure.ts";
import { createRepeats, observeStore } from "./observe-requests.ts";
import { createPacedStore } from "./paced-store.ts";
import { azurePace } from "./pacer.ts";

/** Limits of whichever storage it is; those of others are ignored. */
export type StorageLimits = Partial<FileStoreSettings & AzureStoreSettings>;

/** The container where a connection string names none. */
export const containerDefault = "message-vault";

const containerPattern = /^[a-z0-9](-?[a-z0-9])*$/;

/**
 * Opens the storage that a setting names:
 *
 * - `file:PATH`: files in a directory, the embedded default;
 * - `memory:`: memory, gone with the process;
 * - `memory:azure[?NAME=NUMBER&...]`: the same, as slow as Azure by a model (modelled-azure.ts), for planning;
 * - `azurite:` or `azurite:PATH`: an emulator of Azure as a child process, in memory or in a directory;
 * - `https://ACCOUNT.blob.core.windows.net/CONTAINER[?SAS]` (`http://` for emulators): an Azure container, without a SAS
 *   by the identity that is found;
 * - `...AccountName=...;AccountKey=...[;Container=NAME]`: an Azure connection string.
 *
 * Throws `invalid` for anything else, and what opening throws. Azure's SDK is loaded only where it is needed.
 */
export async function openStore(
  setting: string,
  clock: Clock,
  log: Log = silentLog,
  limits: StorageLimits = {},
  telemetry: Telemetry = noTelemetry,
): Promise<BlobStore> {
  if (setting === "memory:") return observeStore(createMemoryStore(clock), clock, telemetry);
  if (/^memory:azure(\?|$)/.test(setting)) return openModelledAzure(setting, clock, log, limits, telemetry);
  if (setting.startsWith("file:") && setting.length > 5) {
    const store = await openFileStore(setting.slice(5), clock, nodeFileSystem, limits);
    return observeStore(store, clock, telemetry);
  }
  if (setting.startsWith("azurite:")) {
    const { openAzuriteStore } = await import("./azurite.ts");
    const location = setting.slice("azurite:".length);
    return openAzuriteStore(location === "" ? undefined : location, containerDefault, clock, log, telemetry);
  }
  if (/^https?:\/\//.test(setting)) {
    const { openAzureStore } = await import("./azure.ts");
    return openAzureStore({ url: checkContainerUrl(setting) }, clock, limits, telemetry);
  }
  if (/(^|;)\s*(AccountName|BlobEndpoint|UseDevelopmentStorage)=/i.test(setting)) {
    const { openAzureStore } = await import("./azure.ts");
    return openAzureStore(splitConnectionString(setting), clock, limits, telemetry);
  }
  throw unknownSetting();
}

/**
 * Opens the storage that a setting names to read it, while a vault runs on it or not, and without changing anything.
 * Throws `invalid` for storage that lives and ends with its vault and for a directory that does not exist, `notFound`
 * for such a container, and what openStore throws.
 */
export async function openReader(
  setting: string,
  clock: Clock,
  log: Log = silentLog,
  limits: StorageLimits = {},
): Promise<BlobReader> {
  if (setting.startsWith("memory:") || setting === "azurite:") throw endsWithVault(setting);
  if (setting.startsWith("file:") && setting.length > 5) return openFileReader(setting.slice(5), clock);
  if (setting.startsWith("azurite:")) await checkDirectory(path.resolve(setting.slice("azurite:".length)));
  return openStore(setting, clock, log, { ...limits, createContainer: false });
}

/** Paced as Azure is, so that the vault behaves as it would there; tells at the end what storage was asked for. */
function openModelledAzure(
  setting: string,
  clock: Clock,
  log: Log,
  limits: StorageLimits,
  telemetry: Telemetry,
): BlobStore {
  const model = createModelledAzure(createMemoryStore(clock), clock, parseModel(setting));
  const pace = { ...azurePace, readAttemptsMax: modelReadAttemptsMax, ...limits };
  const repeats = createRepeats();
  return {
    ...createPacedStore(observeStore(model, clock, telemetry, repeats), clock, pace, repeats),
    async close() {
      log.info("modelled storage was asked for", { ...model.counts });
      await model.close();
    },
  };
}

/** As on Azure. */
const modelReadAttemptsMax = 3;

function parseModel(setting: string): Partial<AzureModel> {
  const names = Object.keys(azureModelDefaults) as (keyof AzureModel)[];
  const given: Partial<Record<keyof AzureModel, number>> = {};
  for (const [flag, text] of new URLSearchParams(setting.split("?", 2)[1])) {
    const name = names.find((candidate) => toFlag(candidate) === flag);
    const value = Number(text);
    if (name === undefined || text === "" || !(value > 0 && value < Number.POSITIVE_INFINITY)) {
      const message = `memory:azure?${flag}=${text}: each must be a number above 0, named ${names.map(toFlag).join(", ")}`;
      throw new VaultError("invalid", message, { field: "storage" });
    }
    given[name] = value;
  }
  return given;
}

function toFlag(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

function endsWithVault(setting: string): VaultError {
  const others = "the emulator's connection string (the vault logs its endpoint), or another storage";
  const hint = setting.startsWith("memory:") ? "nobody else can read it" : `give ${others}`;
  return new VaultError("invalid", `${setting} keeps everything in the vault's own memory: ${hint}`, {
    field: "storage",
  });
}

/** The URL, if it names a container and nothing below it. */
function checkContainerUrl(setting: string): string {
  let url: URL;
  try {
    url = new URL(setting);
  } catch {
    throw unknownSetting();
  }
  const parts = url.pathname.split("/").filter((part) => part !== "");
  // An emulator has the account's name before the container's.
  const count = /\.blob\.core\./.test(url.hostname) ? 1 : 2;
  const container = parts.at(-1);
  if (container === undefined || parts.length > count || !containerPattern.test(container)) throw unknownSetting();
  return setting;
}

function splitConnectionString(setting: string): { connectionString: string; container: string } {
  const kept: string[] = [];
  let container = containerDefault;
  for (const part of setting.split(";")) {
    const name = /^\s*Container=(.*)$/i.exec(part)?.[1];
    if (name === undefined) kept.push(part);
    else container = name.trim();
  }
  if (!containerPattern.test(container)) throw unknownSetting();
  return { connectionString: kept.join(";"), container };
}

function unknownSetting(): VaultError {
  // The setting itself stays out of the message: it may hold a key.
  return new VaultError(
    "invalid",
    "storage is one of file:PATH, memory:, memory:azure, azurite:[PATH], https://ACCOUNT.blob.core.windows.net/CONTAINER[?SAS], " +
      "or an Azure connection string (AccountName=...;AccountKey=...) with an optional ;Container=NAME",
    { field: "storage" },
  );
}
