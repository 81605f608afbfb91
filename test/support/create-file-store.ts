import path from "node:path";
import type { ExecutionContext } from "ava";
import type { BlobStore } from "../../src/blob/blob-store.ts";
import type { FileStoreSettings } from "../../src/blob/file.ts";
import { openFileStore } from "../../src/blob/file.ts";
import type { FileSystem } from "../../src/blob/file-system.ts";
import type { Clock } from "../../src/clock.ts";
import { systemClock } from "../../src/clock.ts";
import { createDirectory } from "./create-directory.ts";

/** A file store for a test, and where it is. */
export interface TestFileStore {
  readonly store: BlobStore;
  readonly directory: string;
}

/** Opens a file store in a new directory, or in `directory`; both go when the test ends. */
export async function createFileStore(
  t: ExecutionContext,
  options: { clock?: Clock; directory?: string; fileSystem?: FileSystem; limits?: Partial<FileStoreSettings> } = {},
): Promise<TestFileStore> {
  const directory = options.directory ?? path.join(await createDirectory(t), "data");
  const store = await openFileStore(directory, options.clock ?? systemClock, options.fileSystem, options.limits);
  t.teardown(() => store.close());
  return { store, directory };
}
