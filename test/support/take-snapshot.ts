import fs from "node:fs/promises";
import path from "node:path";

/** Everything below a directory, itself included, with all that a change of it would change. */
export async function takeSnapshot(directory: string): Promise<Record<string, string>> {
  const names = ["", ...(await fs.readdir(directory, { recursive: true }))].toSorted();
  const found: Record<string, string> = {};
  for (const name of names) {
    const { ino, mode, size, mtimeNs, ctimeNs } = await fs.stat(path.join(directory, name), { bigint: true });
    found[name] = [ino, mode, size, mtimeNs, ctimeNs].join(" ");
  }
  return found;
}
