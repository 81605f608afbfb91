import path from "node:path";
import type { Clock } from "../clock.ts";
import { VaultError } from "../errors.ts";
import type { Log } from "../log.ts";
import { silentLog } from "../log.ts";
import type { AzureStoreSettings } from "./azure.ts";
import type { BlobReader, BlobStore } from "./blob-store.ts";
import { checkDirectory, openFileReader } from "./file-reader.ts";
import { nodeFileSystem } from "./file-system.ts";
import type { FileStoreSettings } from "./file.ts";
import { openFileStore } from "./file.ts";
import { createMemoryStore } from "./memory.ts";

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
): Promise<BlobStore> {
  if (setting === "memory:") return createMemoryStore(clock);
  if (setting.startsWith("file:") && setting.length > 5)
    return openFileStore(setting.slice(5), clock, nodeFileSystem, limits);
  if (setting.startsWith("azurite:")) {
    const { openAzuriteStore } = await import("./azurite.ts");
    const location = setting.slice("azurite:".length);
    return openAzuriteStore(location === "" ? undefined : location, containerDefault, clock, log);
  }
  if (/^https?:\/\//.test(setting)) {
    const { openAzureStore } = await import("./azure.ts");
    return openAzureStore({ url: checkContainerUrl(setting) }, clock, limits);
  }
  if (/(^|;)\s*(AccountName|BlobEndpoint|UseDevelopmentStorage)=/i.test(setting)) {
    const { openAzureStore } = await import("./azure.ts");
    return openAzureStore(splitConnectionString(setting), clock, limits);
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
  if (setting === "memory:" || setting === "azurite:") throw endsWithVault(setting);
  if (setting.startsWith("file:") && setting.length > 5) return openFileReader(setting.slice(5), clock);
  if (setting.startsWith("azurite:")) await checkDirectory(path.resolve(setting.slice("azurite:".length)));
  return openStore(setting, clock, log, { ...limits, createContainer: false });
}

function endsWithVault(setting: string): VaultError {
  const others = "the emulator's connection string (the vault logs its endpoint), or another storage";
  const hint = setting === "memory:" ? "nobody else can read it" : `give ${others}`;
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
    "storage is one of file:PATH, memory:, azurite:[PATH], https://ACCOUNT.blob.core.windows.net/CONTAINER[?SAS], " +
      "or an Azure connection string (AccountName=...;AccountKey=...) with an optional ;Container=NAME",
    { field: "storage" },
  );
}
