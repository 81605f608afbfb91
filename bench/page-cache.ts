import { execFileSync } from "node:child_process";
import { readdirSync } from "node:fs";
import path from "node:path";

/** How far a file may stay in the cache and still count as dropped. */
const residentShareMax = 0.02;

/**
 * Has the system forget what it caches of the files below `directory`: GNU dd's `nocache`
 * asks for it (posix_fadvise, DONTNEED), which the owner of a file may. Tells whether that worked, as far as can be seen.
 */
export function dropPageCache(directory: string): boolean {
  const files = readdirSync(directory, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return files.map((entry) => dropFile(path.join(entry.parentPath, entry.name))).every(Boolean);
}

function dropFile(file: string): boolean {
  try {
    execFileSync("dd", [`if=${file}`, "iflag=nocache", "count=0", "status=none"], { stdio: "ignore" });
    return isDropped(file);
  } catch {
    return false;
  }
}

function isDropped(file: string): boolean {
  let output: string;
  try {
    output = execFileSync("fincore", ["--bytes", "--noheadings", "--output", "RES,SIZE", file], { encoding: "utf8" });
  } catch {
    // Without the tool there is no looking.
    return true;
  }
  const [resident = 0, size = 0] = output.trim().split(/\s+/).map(Number);
  return size < 1024 ** 2 || resident <= size * residentShareMax;
}
