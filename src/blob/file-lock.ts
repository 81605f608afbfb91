import { VaultError } from "../errors.ts";

/** A lock on a directory, held by this process. */
export interface FileLock {
  /** Gives it back; harmless when that was done. */
  release(): void;
}

/**
 * Locks a directory for this process by an open exclusive transaction of SQLite on `path`: the system gives the lock
 * back however the process ends. Throws `unavailable` if another process (or another store of this one) holds it.
 */
export async function acquireFileLock(path: string, directory: string): Promise<FileLock> {
  const { DatabaseSync } = await import("node:sqlite");
  try {
    const database = new DatabaseSync(path, { timeout: 0 });
    try {
      database.exec("BEGIN EXCLUSIVE");
    } catch (error) {
      database.close();
      throw error;
    }
    return {
      release: () => {
        if (database.isOpen) database.close();
      },
    };
  } catch (error) {
    throw lockError(error, directory);
  }
}

function lockError(error: unknown, directory: string): VaultError {
  const message = error instanceof Error ? error.message : String(error);
  if (/locked|busy/i.test(message)) {
    const hint = `another vault runs on ${directory}: stop it, or give this one another directory`;
    return new VaultError("unavailable", hint, { resource: directory }, error);
  }
  return new VaultError("unavailable", `cannot lock ${directory}: ${message}`, { resource: directory }, error);
}
