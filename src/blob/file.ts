/**
 * The embedded store: plain files in directories that mirror the blobs' names. A block blob is a file as it is; a page
 * blob is a sparse file behind a header page (see file-header.ts).
 *
 * Invariants:
 * - One process at a time: a lock that the system gives back however the process ends.
 * - What a change's promise resolved for is durable: its bytes, its header, its directory entries. A page blob's file
 *   and a block blob's new content come into view whole, by a rename, or not at all.
 * - The changes of one blob run one after another, conditions judged when a change runs. Reads of page blobs do not
 *   wait for them: a read that a change overlapped gets a version that nothing else has.
 * - Versions and leases are in memory. Each process begins its versions with an id of its own, so that none of an
 *   earlier process is ever met; leases end with the process.
 * - The header's size counts. A file shorter than that (a clear was cut short) is zero behind its end.
 * - After a failed write or sync nothing of that range is shown until it was written again and synced (file-blobs.ts).
 */
import fs from "node:fs/promises";
import path from "node:path";
import type { Clock } from "../clock.ts";
import { VaultError } from "../errors.ts";
import type { BlobStore } from "./blob-store.ts";
import { createFileBlobs } from "./file-blobs.ts";
import { controlOperations } from "./file-control.ts";
import { createDirectories } from "./file-directories.ts";
import { createEntries } from "./file-entries.ts";
import { createFileHandles } from "./file-handles.ts";
import type { FileLock } from "./file-lock.ts";
import { acquireFileLock } from "./file-lock.ts";
import { blockOperations, commonOperations, pageOperations } from "./file-operations.ts";
import type { FileSystem } from "./file-system.ts";
import { hasCode, nodeFileSystem } from "./file-system.ts";

/** The limits of a file store. */
export interface FileStoreSettings {
  /** How many page blobs' files are kept open. */
  readonly openFilesMax: number;
  /** How many blobs' versions are remembered; one that is forgotten gets a new version. */
  readonly knownBlobsMax: number;
}

/** The limits where none are given. */
export const fileStoreDefaults: FileStoreSettings = { openFilesMax: 256, knownBlobsMax: 65_536 };

/** Names of ours in the store's directory: no blob's name begins with `~`. */
const lockName = "~lock.db";
const temporaryName = "~tmp";

/**
 * Opens the store in a directory, which is made if it is missing. Throws `unavailable` if another vault runs there or
 * the directory cannot be used.
 */
export async function openFileStore(
  directory: string,
  clock: Clock,
  fileSystem: FileSystem = nodeFileSystem,
  settings: Partial<FileStoreSettings> = {},
): Promise<BlobStore> {
  const { openFilesMax, knownBlobsMax } = { ...fileStoreDefaults, ...settings };
  const root = path.resolve(directory);
  const temporary = path.join(root, temporaryName);
  const lock = await lockDirectory(root);
  try {
    await emptyTemporary(fileSystem, temporary);
  } catch (error) {
    lock.release();
    throw directoryError(root, error);
  }
  const processId = clock.id();
  let versions = 0;
  const nextEtag = () => {
    versions += 1;
    return `"${processId}-${versions}"`;
  };
  const directories = createDirectories(fileSystem, root);
  const handles = createFileHandles(fileSystem, openFilesMax);
  const entries = createEntries(knownBlobsMax, directories.pathOf);
  const files = createFileBlobs(fileSystem, directories, handles, temporary, nextEtag);
  const context = { clock, directories, entries, files, nextEtag };
  return {
    description: `file:${root}`,
    ...pageOperations(context),
    ...blockOperations(context),
    ...commonOperations(context),
    ...controlOperations(context),
    async close() {
      await entries.idle();
      await handles.close();
      lock.release();
    },
  };
}

/** Makes the store's directory if it is missing, durably, and locks it. */
async function lockDirectory(root: string): Promise<FileLock> {
  try {
    const first = await fs.mkdir(root, { recursive: true });
    if (first !== undefined) {
      for (let made = root; made.length >= first.length; made = path.dirname(made)) {
        await nodeFileSystem.syncDirectory(path.dirname(made));
      }
    }
  } catch (error) {
    throw directoryError(root, error);
  }
  return acquireFileLock(path.join(root, lockName), root);
}

/** Deletes what an earlier process had begun and not moved to its place. */
async function emptyTemporary(fileSystem: FileSystem, temporary: string): Promise<void> {
  try {
    await fileSystem.mkdir(temporary);
  } catch (error) {
    if (!hasCode(error, "EEXIST")) throw error;
  }
  for (const entry of await fileSystem.readdir(temporary)) await fileSystem.unlink(path.join(temporary, entry.name));
}

function directoryError(root: string, error: unknown): VaultError {
  const reason = error instanceof Error ? error.message : String(error);
  return new VaultError("unavailable", `cannot use the directory ${root}: ${reason}`, { resource: root }, error);
}
