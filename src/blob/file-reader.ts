/**
 * The directory of a file store, to read while a vault runs there or not: without the lock.
 *
 * Invariants:
 * - Nothing is made, changed, synced or kept open.
 * - What is shown may be newer than what is durable: it is for checking, not for acting upon.
 * - A version is told twice only if the file did not change in between. The system's times are coarse, and a write under
 *   way has set them already: so a file that changed while it was looked at, or a moment before, has a version that
 *   nothing else has.
 */
import fs from "node:fs/promises";
import path from "node:path";
import type { Clock } from "../clock.ts";
import { isKind, VaultError } from "../errors.ts";
import { blobNotFound } from "./blob-errors.ts";
import type { BlobBytes, BlobEntry, BlobProperties, BlobReader, Etag, ListPage } from "./blob-store.ts";
import { checkListing, checkName, checkRead } from "./check-arguments.ts";
import { createDirectories } from "./file-directories.ts";
import { fileNotRead } from "./file-errors.ts";
import type { Header } from "./file-header.ts";
import { decodeHeaderPage, headerBytes } from "./file-header.ts";
import { hasCode, nodeFileSystem } from "./file-system.ts";

/** How long after a change a file's times do not tell versions apart, in milliseconds: FAT counts in 2 seconds. */
export const freshMs = 2000;

/** How often a header that is not whole is read: one that is just being replaced is whole at the next look. */
const headerReadsMax = 5;

/** What a version is made of. */
type Stats = Readonly<Record<"ino" | "size" | "mtimeNs" | "ctimeNs", bigint>>;

/** A file, as it was at one look. */
interface Look extends BlobBytes {
  /** Undefined for block blobs. */
  readonly header: Header | undefined;
  readonly sizeBytes: number;
}

/**
 * Opens the directory of a file store for reading. Throws `invalid` if there is none, `unavailable` if it cannot be
 * used. No blob is ever `leased`: leases are in the memory of the process that runs the store.
 */
export async function openFileReader(directory: string, clock: Clock): Promise<BlobReader> {
  const root = path.resolve(directory);
  await checkDirectory(root);
  const directories = createDirectories({ ...nodeFileSystem, async syncDirectory() {} }, root);

  async function find(name: string, position: number, lengthBytes: number): Promise<Look | undefined> {
    checkName(name);
    return lookAt(clock, name, directories.pathOf(name), position, lengthBytes);
  }

  return {
    description: `file:${root} (to read)`,

    async read(name: string, position: number, lengthBytes: number): Promise<BlobBytes> {
      checkRead(name, position, lengthBytes);
      const found = await find(name, position, lengthBytes);
      if (found === undefined) throw blobNotFound(name);
      return found;
    },

    get: (name: string): Promise<BlobBytes | undefined> => find(name, 0, Infinity),

    async properties(name: string): Promise<BlobProperties | undefined> {
      const found = await find(name, 0, 0);
      if (found === undefined) return undefined;
      const { etag, sizeBytes, header } = found;
      const { sequenceNumber, metadata } = header ?? { sequenceNumber: 0, metadata: {} };
      return { etag, sizeBytes, sequenceNumber, metadata, leased: false, date: clock.now() };
    },

    async list(prefix: string, limit: number, from = ""): Promise<ListPage<BlobEntry>> {
      checkListing(prefix, limit);
      const { items: files, next } = await pageOf(prefix, directories.walk(prefix, from), limit, ({ name }) => name);
      const items: BlobEntry[] = [];
      for (const { name, path: filePath } of files) {
        const found = await lookAt(clock, name, filePath, 0, 0).catch(unlessCorrupt);
        if (found !== undefined) items.push({ name, sizeBytes: found.sizeBytes });
      }
      return { items, next, date: clock.now() };
    },

    async listFolders(prefix: string, limit: number, from = ""): Promise<ListPage<string>> {
      checkListing(prefix, limit);
      const folders = directories.folders(prefix, from);
      return { ...(await pageOf(prefix, folders, limit, (folder) => `${folder}/`)), date: clock.now() };
    },

    async close() {},
  };
}

/** Throws `invalid` if there is no such directory, `unavailable` if it cannot be read. */
export async function checkDirectory(root: string): Promise<void> {
  try {
    await (await fs.opendir(root)).close();
  } catch (error) {
    const detail = { resource: root };
    if (hasCode(error, "ENOENT", "ENOTDIR")) {
      throw new VaultError("invalid", `there is no directory ${root}: give one that a vault stores in`, detail, error);
    }
    const reason = error instanceof Error ? error.message : String(error);
    throw new VaultError("unavailable", `cannot read the directory ${root}: ${reason}`, detail, error);
  }
}

/** What is at `filePath`; undefined if there is no file. */
async function lookAt(
  clock: Clock,
  name: string,
  filePath: string,
  position: number,
  lengthBytes: number,
): Promise<Look | undefined> {
  let file: fs.FileHandle | undefined;
  try {
    file = await fs.open(filePath, "r");
    const before = await file.stat({ bigint: true });
    if (!before.isFile()) return undefined;
    const header = await readHeader(clock, name, file);
    const sizeBytes = header?.sizeBytes ?? Number(before.size);
    const bytes = Buffer.alloc(Math.max(0, Math.min(lengthBytes, sizeBytes - position)));
    const count = await fill(file, bytes, position + (header === undefined ? 0 : headerBytes));
    const version = versionOf(await file.stat({ bigint: true }));
    const still = versionOf(before) === version && clock.now() - Number(before.ctimeMs) >= freshMs;
    // A page blob's file may be short: what is missing is zero.
    const whole = header === undefined ? bytes.subarray(0, count) : bytes;
    return { header, sizeBytes, bytes: whole, etag: still ? version : `"${clock.id()}"` };
  } catch (error) {
    if (hasCode(error, "ENOENT", "ENOTDIR", "EISDIR")) return undefined;
    throw fileNotRead(name, error);
  } finally {
    await file?.close();
  }
}

async function readHeader(clock: Clock, name: string, file: fs.FileHandle): Promise<Header | undefined> {
  const page = Buffer.alloc(headerBytes);
  for (let reads = 1; ; reads += 1) {
    const header = decodeHeaderPage(page.subarray(0, await fill(file, page, 0)));
    if (header !== "damaged") return header;
    if (reads === headerReadsMax) {
      throw new VaultError("corrupt", `the header of page blob ${name} is damaged`, { resource: name });
    }
    await clock.turn();
  }
}

/** Reads up to the buffer's length; resolves to how many bytes there were. */
async function fill(file: fs.FileHandle, buffer: Buffer, position: number): Promise<number> {
  let count = 0;
  for (;;) {
    const { bytesRead } = await file.read(buffer, count, buffer.length - count, position + count);
    count += bytesRead;
    if (bytesRead === 0 || count === buffer.length) return count;
  }
}

function versionOf({ ino, size, mtimeNs, ctimeNs }: Stats): Etag {
  return `"${ino}-${size}-${mtimeNs}-${ctimeNs}"`;
}

/** A blob that cannot be read is listed all the same, so that it is looked at. */
function unlessCorrupt(error: unknown): { sizeBytes: number } {
  if (isKind(error, "corrupt")) return { sizeBytes: 0 };
  throw error;
}

async function pageOf<T>(
  prefix: string,
  source: AsyncIterable<T>,
  limit: number,
  startAt: (item: T) => string,
): Promise<{ items: T[]; next: string | undefined }> {
  const items: T[] = [];
  try {
    for await (const item of source) {
      if (items.length === limit) return { items, next: startAt(item) };
      items.push(item);
    }
    return { items, next: undefined };
  } catch (error) {
    throw fileNotRead(prefix, error);
  }
}
