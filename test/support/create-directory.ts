import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import type { ExecutionContext } from "ava";

/** Makes a directory that is deleted when the test ends. */
export async function createDirectory(t: ExecutionContext): Promise<string> {
  const directory = await fs.mkdtemp(path.join(os.tmpdir(), "message-vault-"));
  t.teardown(() => fs.rm(directory, { recursive: true, force: true }));
  return directory;
}
