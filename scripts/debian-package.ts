/** Programs from Debian's packages, for tests that need more than npm has. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { access, readdir, rm } from "node:fs/promises";
import { delimiter, join, resolve } from "node:path";
import { promisify } from "node:util";
import { fillDirectory } from "./fill-directory.ts";

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
  await fill(cache, [debianPackage]);
}

async function fill(cache: string, debianPackages: readonly string[]): Promise<void> {
  await fillDirectory(cache, async (fresh) => {
    await download(debianPackages, fresh);
    const archives = (await readdir(fresh)).filter((name) => name.endsWith(".deb"));
    for (const archive of archives) await execute("dpkg-deb", ["-x", join(fresh, archive), fresh]);
    await Promise.all(archives.map((archive) => rm(join(fresh, archive))));
  });
}

/**
 * The environment for building with the headers, libraries and programs of Debian's packages: empty where they are all
 * installed; else they, and what they depend on and is not installed, are unpacked into node_modules, for which nobody
 * need be root. Throws where they are not to be had.
 */
export async function provideDevelopmentFiles(
  name: string,
  debianPackages: readonly string[],
): Promise<Readonly<Record<string, string>>> {
  const missing = await findMissing(debianPackages);
  if (missing.length === 0) return {};
  const key = createHash("sha256").update(missing.join()).digest("hex").slice(0, 16);
  const cache = resolve("node_modules/.cache", `debian-${name}-${key}`);
  if ((await existing(cache)) === undefined) {
    console.log(`… unpacking ${missing.length} of Debian's packages into ${cache}`);
    await fill(cache, missing);
  }
  const triplet = `${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu`;
  const libraries = join(cache, "usr", "lib", triplet);
  return {
    PATH: join(cache, "usr", "bin"),
    LD_LIBRARY_PATH: libraries,
    LIBRARY_PATH: libraries,
    PKG_CONFIG_PATH: join(libraries, "pkgconfig"),
    PKG_CONFIG_SYSROOT_DIR: cache,
  };
}

/** Which packages would have to be installed for these to be. */
async function findMissing(debianPackages: readonly string[]): Promise<string[]> {
  const simulate = () =>
    execute("apt-get", ["install", "--simulate", "--no-install-recommends", ...debianPackages], { env: plainOutput() });
  const { stdout } = await simulate().catch(async (error: unknown) => {
    await updateLists(error);
    return simulate();
  });
  return [...stdout.matchAll(/^Inst (\S+)/gm)].map(([, missing]) => missing!).toSorted();
}

function plainOutput() {
  return { ...process.env, LC_ALL: "C" };
}

async function download(debianPackages: readonly string[], into: string): Promise<void> {
  const get = () => execute("apt-get", ["download", ...debianPackages], { cwd: into, timeout: downloadMsMax });
  try {
    await get();
  } catch (error) {
    await updateLists(error);
    await get();
  }
}

/** A machine that is new has no lists of packages, or old ones. Throws `error` where they cannot be had. */
async function updateLists(error: unknown): Promise<void> {
  if (process.getuid?.() !== 0) throw error;
  // One at a time: a second one would fail on the lock of the first, which `flock` waits for with one of its own.
  await execute("flock", ["/var/lib/apt/lists", "apt-get", "update"], { timeout: downloadMsMax });
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
