/**
 * Loading, reading and changing the files of a file store: what is below names, conditions and leases.
 *
 * Invariants:
 * - Nothing is read from a file before a sync of it in this process (and of its directory): what a killed process left
 *   in the cache would else be shown, acted upon, and then lost with the power.
 * - After a failed write or sync the cache may show what the disk does not hold, for as long as it likes. The range is
 *   then suspect: the handle is dropped, the version changes, and before anything in the range is read, or anything at
 *   all changed, the range is written again as the cache shows it, and synced. Only when that succeeds is the blob in
 *   use again, with whatever stands there, which is what `indeterminate` allows.
 */
import path from "node:path";
import { VaultError } from "../errors.ts";
import type { BlobEntry, Etag } from "./blob-store.ts";
import type { Directories } from "./file-directories.ts";
import type { Entry, FileBlob, FileRange } from "./file-entries.ts";
import { fileChangeUnknown, fileNotChanged, fileNotRead, NothingWritten } from "./file-errors.ts";
import type { FileHandles } from "./file-handles.ts";
import type { Header } from "./file-header.ts";
import { decodeHeaderPage, encodeSlot, headerBytes } from "./file-header.ts";
import type { FileSystem, OpenFile } from "./file-system.ts";
import { hasCode } from "./file-system.ts";

/** How much a clear or a repair writes at once. */
const chunkBytes = 1024 * 1024;

/** How often a file is moved into a directory that somebody else keeps deleting. */
const placeAttemptsMax = 16;

/** The files of one store. */
export interface FileBlobs {
  /** The blob of an entry, loaded and repaired; undefined if there is none. Within the entry's queue only. */
  load(entry: Entry): Promise<FileBlob | undefined>;
  /** Size and last change of a file, without taking it into use; undefined if there is none. */
  probe(filePath: string): Promise<Pick<BlobEntry, "sizeBytes" | "changedAt"> | undefined>;
  /** Reads from a page blob's file. */
  read(entry: Entry, position: number, lengthBytes: number): Promise<Buffer>;
  /** Reads a block blob's file as a whole. */
  readWhole(entry: Entry, blob: FileBlob): Promise<Buffer>;
  /** Runs a change of a range of an open page blob's file and syncs it. */
  change(entry: Entry, blob: FileBlob, range: FileRange, run: (file: OpenFile) => Promise<void>): Promise<void>;
  /** Replaces the header of a page blob. */
  changeHeader(entry: Entry, blob: FileBlob, header: Header): Promise<void>;
  /** Writes a new file of this size that begins with `bytes`, and moves it to the entry's path. */
  place(entry: Entry, bytes: Uint8Array, sizeBytes: number): Promise<void>;
  /** Deletes the entry's file. */
  remove(entry: Entry): Promise<void>;
}

/** The files below `directories`; `temporary` is a directory of ours on the same file system. */
export function createFileBlobs(
  fileSystem: FileSystem,
  directories: Directories,
  handles: FileHandles,
  temporary: string,
  nextEtag: () => Etag,
): FileBlobs {
  let temporaryFiles = 0;

  async function load(entry: Entry): Promise<FileBlob | undefined> {
    try {
      if (entry.blob?.suspect !== undefined) await repair(entry, entry.blob, entry.blob.suspect);
      entry.blob ??= await open(entry);
      return entry.blob;
    } catch (error) {
      throw fileNotRead(entry.name, error);
    }
  }

  async function open(entry: Entry): Promise<FileBlob | undefined> {
    const stats = await fileSystem.stat(entry.path);
    if (stats === undefined || stats.directory) return undefined;
    await directories.settle(path.dirname(entry.path));
    const header = await handles.use(entry.path, async (file) => {
      await file.datasync();
      return readHeader(entry.path, file);
    });
    if (header === undefined) handles.drop(entry.path);
    const sizeBytes = header?.sizeBytes ?? stats.sizeBytes;
    return { header, sizeBytes, etag: nextEtag(), lease: undefined, suspect: undefined };
  }

  async function repair(entry: Entry, blob: FileBlob, suspect: FileRange): Promise<void> {
    handles.drop(entry.path);
    await handles.use(entry.path, async (file) => {
      const buffer = Buffer.alloc(chunkBytes);
      for (let at = suspect.from; at < suspect.to; at += chunkBytes) {
        const length = await file.read(buffer.subarray(0, Math.min(chunkBytes, suspect.to - at)), at);
        if (length > 0) await writeAll(file, at, buffer.subarray(0, length));
      }
      await file.datasync();
      blob.header = await readHeader(entry.path, file);
    });
    blob.suspect = undefined;
  }

  function fail(entry: Entry, blob: FileBlob, range: FileRange, error: unknown): VaultError {
    handles.drop(entry.path);
    if (error instanceof NothingWritten) return fileNotChanged(entry.name, error);
    const { suspect } = blob;
    blob.suspect = {
      from: Math.min(range.from, suspect?.from ?? range.from),
      to: Math.max(range.to, suspect?.to ?? range.to),
    };
    blob.etag = nextEtag();
    return fileChangeUnknown(entry.name, error);
  }

  async function change(
    entry: Entry,
    blob: FileBlob,
    range: FileRange,
    run: (file: OpenFile) => Promise<void>,
  ): Promise<void> {
    let opened = false;
    try {
      await handles.use(entry.path, async (file) => {
        opened = true;
        await run(file);
        await file.datasync();
      });
    } catch (error) {
      throw fail(entry, blob, range, opened ? error : new NothingWritten(error));
    }
  }

  async function writeTemporary(filePath: string, bytes: Uint8Array, sizeBytes: number): Promise<void> {
    const file = await fileSystem.open(filePath, "new");
    try {
      await writeAll(file, 0, bytes);
      if (sizeBytes > bytes.length) await file.truncate(sizeBytes);
      await file.datasync();
    } finally {
      await file.close();
    }
  }

  async function moveInto(from: string, to: string): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      const directory = path.dirname(to);
      try {
        await directories.ensure(directory);
        await fileSystem.rename(from, to);
        return;
      } catch (error) {
        // Whoever deletes the last blob of a directory deletes the directory.
        if (!hasCode(error, "ENOENT") || attempt === placeAttemptsMax) throw error;
        directories.forget(directory);
      }
    }
  }

  return {
    load,
    change,

    async probe(filePath) {
      const stats = await fileSystem.stat(filePath);
      if (stats === undefined || stats.directory) return undefined;
      const { changedAt } = stats;
      // The file of a page blob has whole pages, so that most others are told by their size.
      if (stats.sizeBytes < headerBytes || stats.sizeBytes % headerBytes !== 0)
        return { sizeBytes: stats.sizeBytes, changedAt };
      const file = await fileSystem.open(filePath, "existing").catch((error: unknown) => {
        // Deleted since.
        if (hasCode(error, "ENOENT", "ENOTDIR")) return undefined;
        throw fileNotRead(filePath, error);
      });
      if (file === undefined) return undefined;
      try {
        const header = await readHeader(filePath, file);
        return { sizeBytes: header?.sizeBytes ?? stats.sizeBytes, changedAt };
      } finally {
        await file.close();
      }
    },

    async read(entry, position, lengthBytes) {
      // Not from Buffer's pool: a caller that keeps a few bytes would keep the pool's slab.
      const bytes = Buffer.allocUnsafeSlow(lengthBytes);
      try {
        const count = await handles.use(entry.path, (file) => file.read(bytes, headerBytes + position));
        // A clear that was cut short leaves the file short: what is missing is zero.
        return count < lengthBytes ? bytes.fill(0, count) : bytes;
      } catch (error) {
        throw fileNotRead(entry.name, error);
      }
    },

    async readWhole(entry, blob) {
      try {
        const file = await fileSystem.open(entry.path, "existing");
        try {
          const bytes = Buffer.allocUnsafeSlow(blob.sizeBytes);
          return bytes.subarray(0, await file.read(bytes, 0));
        } finally {
          await file.close();
        }
      } catch (error) {
        throw fileNotRead(entry.name, error);
      }
    },

    async changeHeader(entry, blob, header) {
      const { position, bytes } = encodeSlot(header);
      const range = { from: 0, to: headerBytes };
      await change(entry, blob, range, (file) => writeAll(file, position, bytes));
      blob.header = header;
    },

    async place(entry, bytes, sizeBytes) {
      temporaryFiles += 1;
      const from = path.join(temporary, `${temporaryFiles}`);
      try {
        await writeTemporary(from, bytes, sizeBytes);
        await moveInto(from, entry.path);
      } catch (error) {
        await fileSystem.unlink(from).catch(() => {});
        throw fileNotChanged(entry.name, error);
      }
      await syncEntry(entry);
    },

    async remove(entry) {
      handles.drop(entry.path);
      try {
        await fileSystem.unlink(entry.path);
      } catch (error) {
        if (!hasCode(error, "ENOENT")) throw fileNotChanged(entry.name, error);
      }
      entry.blob = undefined;
      await syncEntry(entry);
      await directories.prune(path.dirname(entry.path));
    },
  };

  async function syncEntry(entry: Entry): Promise<void> {
    const directory = path.dirname(entry.path);
    try {
      await directories.sync(directory);
    } catch (error) {
      // Another blob's removal may have deleted the directory, synced, as it was empty.
      if (hasCode(error, "ENOENT") && entry.blob === undefined) return;
      directories.forget(directory);
      entry.blob = undefined;
      throw fileChangeUnknown(entry.name, error);
    }
  }
}

/** Writes all of `bytes`. Throws NothingWritten where a full disk refused the first byte. */
export async function writeAll(file: OpenFile, position: number, bytes: Uint8Array): Promise<void> {
  let written = 0;
  while (written < bytes.length) {
    try {
      written += await file.write(written === 0 ? bytes : bytes.subarray(written), position + written);
    } catch (error) {
      if (written === 0 && hasCode(error, "ENOSPC", "EDQUOT")) throw new NothingWritten(error);
      throw error;
    }
  }
}

/** Zeros a range of a file piece by piece. */
export async function writeZeros(file: OpenFile, position: number, lengthBytes: number): Promise<void> {
  const zeros = Buffer.alloc(Math.min(chunkBytes, lengthBytes));
  for (let at = 0; at < lengthBytes; at += chunkBytes) {
    const piece = writeAll(file, position + at, zeros.subarray(0, Math.min(chunkBytes, lengthBytes - at)));
    await piece.catch((error: unknown) => {
      // Only at the first piece is it true of the whole.
      throw at > 0 && error instanceof NothingWritten ? error.cause : error;
    });
  }
}

async function readHeader(filePath: string, file: OpenFile): Promise<Header | undefined> {
  const page = Buffer.alloc(headerBytes);
  const count = await file.read(page, 0);
  const header = decodeHeaderPage(page.subarray(0, count));
  if (header !== "damaged") return header;
  throw new VaultError("corrupt", `the header of page blob file ${filePath} is damaged`, { resource: filePath });
}
