/**
 * A look at a file store from outside, while a vault runs on it or not: it takes no lock, makes nothing, syncs nothing,
 * and refuses every change.
 *
 * What is seen may be newer than what is durable, so it is for checking and copying, not for acting upon. Versions are
 * made of the file's own times: a file that was changed a moment ago gets a version that nothing else has, because the
 * system's times are too coarse to tell two changes that close together apart.
 */
import fs from "node:fs/promises";
import path from "node:path";
import type { Clock } from "../clock.ts";
import { VaultError } from "../errors.ts";
import { blobNotFound } from "./blob-errors.ts";
import type { BlobEntry, BlobProperties, BlobStore, ListPage } from "./blob-store.ts";
import { checkListing, checkName, checkRead } from "./check-arguments.ts";
import { createDirectories } from "./file-directories.ts";
import { fileNotRead } from "./file-errors.ts";
import { decodeHeaderPage, headerBytes } from "./file-header.ts";
import type { Header } from "./file-header.ts";
import { hasCode, nodeFileSystem } from "./file-system.ts";

/** How long the times of a file that was changed are not believed, in milliseconds. */
const freshMs = 100;

interface SeenFile {
  readonly etag: string;
  readonly sizeBytes: number;
  /** Undefined for block blobs. */
  readonly header: Header | undefined;
  /** The blob's bytes from `position` on, as far as there are any. */
  read(position: number, lengthBytes: number): Promise<Buffer>;
}

/** Opens a view of the file store in `directory`. Throws `notFound` if there is no such directory. */
export async function openFileView(directory: string, clock: Clock): Promise<BlobStore> {
  const root = path.resolve(directory);
  const stats = await fs.stat(root).catch(() => undefined);
  if (stats?.isDirectory() !== true)
    throw new VaultError("notFound", `there is no directory ${root}`, { resource: root });
  const directories = createDirectories({ ...nodeFileSystem, syncDirectory: async () => undefined }, root);
  const look = <T>(name: string, use: (file: SeenFile) => Promise<T>) => {
    checkName(name);
    return openSeen(name, directories.pathOf(name), clock, use);
  };
  return {
    description: `file:${root} (for reading)`,
    ...refuseChanges(root),
    async read(name, position, lengthBytes) {
      checkRead(name, position, lengthBytes);
      const found = await look(name, async (file) => ({
        bytes: await file.read(position, lengthBytes),
        etag: file.etag,
      }));
      if (found === undefined) throw blobNotFound(name);
      return found;
    },
    get: (name) => look(name, async (file) => ({ bytes: await file.read(0, file.sizeBytes), etag: file.etag })),
    properties: (name) =>
      look(name, async ({ etag, sizeBytes, header }): Promise<BlobProperties> => {
        const { sequenceNumber, metadata } = header ?? { sequenceNumber: 0, metadata: {} };
        // Leases are in the memory of the process that holds the store.
        return { etag, sizeBytes, sequenceNumber, metadata, leased: false, date: clock.now() };
      }),
    async list(prefix, limit, from = ""): Promise<ListPage<BlobEntry>> {
      checkListing(prefix, limit);
      const items: BlobEntry[] = [];
      for await (const { name } of directories.walk(prefix, from)) {
        if (items.length === limit) return { items, next: name, date: clock.now() };
        const entry = await look(name, async ({ sizeBytes }) => ({ name, sizeBytes }));
        if (entry !== undefined) items.push(entry);
      }
      return { items, next: undefined, date: clock.now() };
    },
    async listFolders(prefix, limit, from = ""): Promise<ListPage<string>> {
      checkListing(prefix, limit);
      const items: string[] = [];
      for await (const folder of directories.folders(prefix, from)) {
        if (items.length === limit) return { items, next: `${folder}/`, date: clock.now() };
        items.push(folder);
      }
      return { items, next: undefined, date: clock.now() };
    },
    close: () => Promise.resolve(),
  };
}

type Changes = Omit<BlobStore, "description" | "read" | "get" | "properties" | "list" | "listFolders" | "close">;

function refuseChanges(root: string): Changes {
  const refuse = () => Promise.reject(new VaultError("denied", `file:${root} was opened for reading only`));
  return {
    createPages: refuse,
    writePages: refuse,
    clearPages: refuse,
    raiseFence: refuse,
    put: refuse,
    remove: refuse,
    createControl: refuse,
    setMetadata: refuse,
    acquireLease: refuse,
    renewLease: refuse,
    releaseLease: refuse,
    breakLease: refuse,
  };
}

// Opens a file as it is now; undefined if there is none.
async function openSeen<T>(
  name: string,
  filePath: string,
  clock: Clock,
  use: (file: SeenFile) => Promise<T>,
): Promise<T | undefined> {
  let handle: fs.FileHandle;
  try {
    handle = await fs.open(filePath, "r");
  } catch (error) {
    if (hasCode(error, "ENOENT", "ENOTDIR", "EISDIR")) return undefined;
    throw fileNotRead(name, error);
  }
  try {
    const stats = await handle.stat({ bigint: true });
    if (stats.isDirectory()) return undefined;
    const read = async (position: number, lengthBytes: number) => {
      const bytes = Buffer.alloc(lengthBytes);
      let filled = 0;
      for (let got = 1; got > 0 && filled < lengthBytes; filled += got) {
        got = (await handle.read(bytes, filled, lengthBytes - filled, position + filled)).bytesRead;
      }
      return bytes.subarray(0, filled);
    };
    const header = decodeHeaderPage(await read(0, headerBytes));
    if (header === "damaged")
      throw new VaultError("corrupt", `the header of ${filePath} is damaged`, { resource: name });
    const sizeBytes = header?.sizeBytes ?? Number(stats.size);
    const start = header === undefined ? 0 : headerBytes;
    const fresh = clock.now() - Number(stats.mtimeMs) < freshMs;
    return await use({
      etag: fresh ? `"${clock.id()}"` : `"${stats.ino}-${stats.mtimeNs}-${stats.size}"`,
      sizeBytes,
      header,
      read: (position, lengthBytes) => read(start + position, Math.max(0, Math.min(lengthBytes, sizeBytes - position))),
    });
  } catch (error) {
    throw fileNotRead(name, error);
  } finally {
    await handle.close();
  }
}
