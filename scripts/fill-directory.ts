/** Directories of a cache, which tests and scripts that run at the same time share. */
import { randomUUID } from "node:crypto";
import { mkdir, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";

/**
 * Has `fill` fill a directory that is not there yet. It is there only once it is whole: `fill` is given another one
 * beside it, which takes its place in the end. Where somebody else was quicker, theirs stays. Throws what `fill` throws.
 */
export async function fillDirectory(directory: string, fill: (fresh: string) => Promise<void>): Promise<void> {
  // Of each call its own: there may be several in one process.
  const fresh = `${directory}.${randomUUID()}`;
  await mkdir(dirname(directory), { recursive: true });
  await mkdir(fresh);
  try {
    await fill(fresh);
    await rename(fresh, directory).catch((error: unknown) => {
      const { code } = error as NodeJS.ErrnoException;
      // Nothing is renamed onto a directory that holds something; which of the two it is depends on the file system.
      if (code !== "ENOTEMPTY" && code !== "EEXIST") throw error;
    });
  } finally {
    await rm(fresh, { recursive: true, force: true });
  }
}
