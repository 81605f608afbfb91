/** Programs from Debian's packages, for tests that need more than npm has. */
import { execFile } from "node:child_process";
import { access, mkdir, readdir, rename, rm } from "node:fs/promises";
import { delimiter, join, resolve } from "node:path";
import { promisify } from "node:util";

const execute = promisify(execFile);

// The package lists may have to be fetched first.
const downloadMsMax = 180_000;

/**
 * The path of a program: the machine's own, else the one in Debian's package, which is unpacked into node_modules and not
 * installed, so that no service of it is started. What the package depends on is not unpacked. Throws, saying what to
 * do, where neither is to be had.
 */
export async function provideProgram(program: string, debianPackage: string): Promise<string> {
  const cache = resolve("node_modules/.cache", debianPackage);
  const unpacked = join(cache, "usr", "bin", program);
  const found = (await findProgram(program)) ?? (await existing(unpacked));
  if (found !== undefined) return found;
  try {
    await unpack(debianPackage, cache);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`${program} could not be had from Debian's packages: install ${debianPackage} by hand. ${reason}`, {
      cause: error,
    });
  }
  const provided = await existing(unpacked);
  if (provided === undefined) throw new Error(`Debian's package ${debianPackage} has no program ${program}`);
  return provided;
}

async function unpack(debianPackage: string, cache: string): Promise<void> {
  console.log(`… unpacking Debian's package ${debianPackage} into ${cache}`);
  // One that was stopped halfway must not count as there.
  const fresh = `${cache}.${process.pid}`;
  await mkdir(fresh, { recursive: true });
  try {
    await download(debianPackage, fresh);
    const archive = (await readdir(fresh)).find((name) => name.endsWith(".deb"));
    await execute("dpkg-deb", ["-x", join(fresh, archive ?? `${debianPackage}.deb`), fresh]);
    await rm(cache, { recursive: true, force: true });
    await rename(fresh, cache);
  } finally {
    await rm(fresh, { recursive: true, force: true });
  }
}

async function download(debianPackage: string, into: string): Promise<void> {
  const get = () => execute("apt-get", ["download", debianPackage], { cwd: into, timeout: downloadMsMax });
  try {
    await get();
  } catch (error) {
    // A machine that is new has no lists of packages, or old ones.
    if (process.getuid?.() !== 0) throw error;
    await execute("apt-get", ["update"], { timeout: downloadMsMax });
    await get();
  }
}

/** The path of a program that the machine has, on its PATH or in `more` places; undefined where it has none. */
export async function findProgram(program: string, more: readonly string[] = []): Promise<string | undefined> {
  for (const directory of [...(process.env["PATH"] ?? "").split(delimiter), ...more]) {
    const path = await existing(join(directory, program));
    if (path !== undefined) return path;
  }
  return undefined;
}

async function existing(path: string): Promise<string | undefined> {
  try {
    await access(path);
    return path;
  } catch {
    return undefined;
  }
}
