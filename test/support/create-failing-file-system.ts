import type { FileSystem, OpenFile } from "../../src/blob/file-system.ts";
import { nodeFileSystem } from "../../src/blob/file-system.ts";

/** An operation on an open file. */
export type FileOperation = "read" | "write" | "datasync" | "truncate" | "open" | "rename" | "syncDirectory";

/** A file system whose operations can be made to fail. */
export interface FailingFileSystem {
  readonly fileSystem: FileSystem;
  /** The next `count` operations of this kind fail with this code, before they do anything, once `after` went well. */
  fail(operation: FileOperation, code: string, when?: { count?: number; after?: number }): void;
  /** The next write writes so many bytes only. */
  shorten(lengthBytes: number): void;
  /** How many files are open. */
  openCount(): number;
}

/** Makes a file system over the real one. */
export function createFailingFileSystem(): FailingFileSystem {
  const failures = new Map<FileOperation, { code: string; count: number; after: number }>();
  let shortenedTo: number | undefined;
  let open = 0;

  async function check(operation: FileOperation): Promise<void> {
    const failure = failures.get(operation);
    if (failure === undefined || failure.count === 0) return;
    if (failure.after > 0) {
      failure.after -= 1;
      return;
    }
    failure.count -= 1;
    throw Object.assign(new Error(`${failure.code}: as the test wants it`), { code: failure.code });
  }

  function wrap(file: OpenFile): OpenFile {
    return {
      read: (buffer, position) => check("read").then(() => file.read(buffer, position)),
      write: (bytes, position) =>
        check("write").then(() => {
          const length = shortenedTo ?? bytes.length;
          shortenedTo = undefined;
          return file.write(bytes.subarray(0, length), position);
        }),
      datasync: () => check("datasync").then(() => file.datasync()),
      truncate: (sizeBytes) => check("truncate").then(() => file.truncate(sizeBytes)),
      close: () => {
        open -= 1;
        return file.close();
      },
    };
  }

  return {
    fileSystem: {
      ...nodeFileSystem,
      async open(path, mode) {
        await check("open");
        const file = await nodeFileSystem.open(path, mode);
        open += 1;
        return wrap(file);
      },
      rename: (from, to) => check("rename").then(() => nodeFileSystem.rename(from, to)),
      syncDirectory: (path) => check("syncDirectory").then(() => nodeFileSystem.syncDirectory(path)),
    },
    fail: (operation, code, { count = 1, after = 0 } = {}) => void failures.set(operation, { code, count, after }),
    shorten: (lengthBytes) => (shortenedTo = lengthBytes),
    openCount: () => open,
  };
}
