/**
 * The part of a file system that the file store needs, as a port: a test layer behind it drops what was not synced.
 * Rejections are Node's own errors, with `code`.
 */
import fs from "node:fs";

/** An entry of a directory. */
export interface DirectoryEntry {
  readonly name: string;
  readonly directory: boolean;
}

/** What is known of a file or directory. */
export interface FileStats {
  readonly sizeBytes: number;
  readonly directory: boolean;
  readonly changedAt?: number;
}

/** An open file. */
export interface OpenFile {
  /** Fills `buffer` from `position` on; resolves to how many bytes there were. */
  read(buffer: Uint8Array, position: number): Promise<number>;
  /** Writes some of `bytes` at `position`; resolves to how many, at least one. */
  write(bytes: Uint8Array, position: number): Promise<number>;
  /** Makes everything that was written, and the size, durable. */
  datasync(): Promise<void>;
  /** Cuts or extends (with zeros) the file. */
  truncate(sizeBytes: number): Promise<void>;
  close(): Promise<void>;
}

/** Files and directories. Paths are absolute. */
export interface FileSystem {
  /** Opens a file that is there, or makes one that must not be there. */
  open(path: string, mode: "existing" | "new"): Promise<OpenFile>;
  /** Size, kind, and when the content changed last (milliseconds since 1970); undefined if there is nothing. */
  stat(path: string): Promise<FileStats | undefined>;
  /** Moves a file, over one that is there. */
  rename(from: string, to: string): Promise<void>;
  unlink(path: string): Promise<void>;
  mkdir(path: string): Promise<void>;
  /** Deletes an empty directory. */
  rmdir(path: string): Promise<void>;
  /** In no order. */
  readdir(path: string): Promise<DirectoryEntry[]>;
  /** Makes what was created, renamed and deleted in a directory durable. */
  syncDirectory(path: string): Promise<void>;
}

/**
 * The real file system. The callback functions with a bare descriptor, as FileHandle's promises cost up to half the
 * speed of 1 MiB writes. Not O_DSYNC: its one error for both steps would not tell a full disk (nothing written) from
 * a failed sync.
 */
export const nodeFileSystem: FileSystem = {
  async open(path, mode) {
    const descriptor = await call<number>((done) => fs.open(path, mode === "new" ? "wx+" : "r+", done));
    return openFile(descriptor);
  },
  async stat(path) {
    try {
      const stats = await call<fs.Stats>((done) => fs.stat(path, done));
      return { sizeBytes: stats.size, directory: stats.isDirectory(), changedAt: stats.mtimeMs };
    } catch (error) {
      if (hasCode(error, "ENOENT", "ENOTDIR")) return undefined;
      throw error;
    }
  },
  rename: (from, to) => call<void>((done) => fs.rename(from, to, done)),
  unlink: (path) => call<void>((done) => fs.unlink(path, done)),
  mkdir: (path) => call<void>((done) => fs.mkdir(path, done)),
  rmdir: (path) => call<void>((done) => fs.rmdir(path, done)),
  async readdir(path) {
    const entries = await call<fs.Dirent[]>((done) => fs.readdir(path, { withFileTypes: true }, done));
    return entries.map((entry) => ({ name: entry.name, directory: entry.isDirectory() }));
  },
  async syncDirectory(path) {
    // Windows can neither open nor needs to sync a directory.
    if (process.platform === "win32") return;
    const descriptor = await call<number>((done) => fs.open(path, "r", done));
    try {
      await call<void>((done) => fs.fsync(descriptor, done));
    } finally {
      await call<void>((done) => fs.close(descriptor, done));
    }
  },
};

/**
 * So much is written without a thread of its own: into the system's cache that takes some 20 µs, less than to hand it
 * over and hear of it, and a small commit waits for one hand-over instead of two.
 */
const directBytesMax = 16 * 1024;

function openFile(descriptor: number): OpenFile {
  return {
    async read(buffer, position) {
      let count = 0;
      while (count < buffer.length) {
        const from = count;
        const got = await call<number>((done) =>
          fs.read(descriptor, buffer, from, buffer.length - from, position + from, done),
        );
        if (got === 0) break;
        count += got;
      }
      return count;
    },
    async write(bytes, position) {
      if (bytes.length <= directBytesMax) return fs.writeSync(descriptor, bytes, 0, bytes.length, position);
      return call<number>((done) => fs.write(descriptor, bytes, 0, bytes.length, position, done));
    },
    datasync: () => call<void>((done) => fs.fdatasync(descriptor, done)),
    truncate: (sizeBytes) => call<void>((done) => fs.ftruncate(descriptor, sizeBytes, done)),
    close: () => call<void>((done) => fs.close(descriptor, done)),
  };
}

/** Whether `error` is one of the file system's, with one of these codes. */
export function hasCode(error: unknown, ...codes: string[]): boolean {
  return error instanceof Error && "code" in error && codes.includes(String(error.code));
}

function call<T>(start: (done: (error: Error | null, value?: T) => void) => void): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    start((error, value) => {
      if (error === null) resolve(value as T);
      else reject(error);
    });
  });
}
