/** Spin, the model checker, from Debian's package `spin`, and the C compiler that it needs. */
import { execFile } from "node:child_process";
import { access, mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join, resolve } from "node:path";
import { promisify } from "node:util";

const execute = promisify(execFile);

/** Where Spin is unpacked for somebody who may not install packages. */
const cache = resolve("node_modules/.cache/spin");
const memoryMbMax = 15_000;
const depthMax = 2_000_000;
const outputBytesMax = 64 * 1024 * 1024;

/** How a search ended. */
export interface SearchResult {
  /** The first violation's text; undefined where there is none. */
  readonly violation: string | undefined;
  readonly states: number;
  readonly memoryMb: number;
  readonly seconds: number;
  /** The steps to the violation, as the model prints them; empty where there is none. */
  readonly story: readonly string[];
}

/**
 * The path of Spin. Installs the Debian package where it is missing: as root, with apt-get; else it is downloaded and
 * unpacked into node_modules. Throws, saying what to do, where neither can be done or there is no C compiler.
 */
export async function provideSpin(): Promise<string> {
  if ((await find("gcc")) === undefined) throw new Error("a C compiler is needed: install gcc (apt-get install gcc)");
  const unpacked = join(cache, "usr", "bin", "spin");
  const found = (await find("spin")) ?? (await existing(unpacked));
  if (found !== undefined) return found;
  try {
    if (process.getuid?.() === 0) {
      console.log("… installing Debian's package spin");
      await execute("apt-get", ["update"]);
      await execute("apt-get", ["install", "-y", "--no-install-recommends", "spin"]);
    } else {
      console.log(`… unpacking Debian's package spin into ${cache}`);
      await mkdir(cache, { recursive: true });
      await execute("apt-get", ["download", "spin"], { cwd: cache });
      const archive = (await readdir(cache)).find((name) => name.endsWith(".deb"));
      await execute("dpkg-deb", ["-x", join(cache, archive ?? "spin.deb"), cache]);
    }
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`Spin 6.5 is needed and could not be had from Debian's packages: install it by hand. ${reason}`, {
      cause: error,
    });
  }
  const installed = (await find("spin")) ?? (await existing(unpacked));
  if (installed === undefined)
    throw new Error("Debian's package spin brought no program spin: install Spin 6.5 by hand");
  return installed;
}

/**
 * Searches all states of a model. `file`: the model; `defines`: what it is compiled with. Throws where the search could
 * not be finished: the model does not compile, memory or depth ran out.
 */
export async function search(spin: string, file: string, defines: readonly string[]): Promise<SearchResult> {
  const directory = await mkdtemp(join(tmpdir(), "message-vault-model-"));
  try {
    const options = defines.map((define) => `-D${define}`);
    const model = resolve(file);
    const at = { cwd: directory, maxBuffer: outputBytesMax };
    await execute(spin, ["-a", ...options, model], at).catch((error: unknown) => {
      throw new Error(`Spin cannot read ${file}`, { cause: error });
    });
    const compile = ["-O2", "-w", "-DSAFETY", "-DCOLLAPSE", `-DMEMLIM=${memoryMbMax}`, "-o", "pan", "pan.c"];
    await execute("gcc", compile, at);
    const startedAt = performance.now();
    const { stdout } = await execute(join(directory, "pan"), [`-m${depthMax}`, "-w22", "-n"], at);
    const seconds = (performance.now() - startedAt) / 1000;
    const violation = /pan:\d+: (.*) \(at depth/.exec(stdout)?.[1];
    const unfinished = /max search depth too small|out of memory|reached -DMEMLIM|aborted|truncated/.exec(stdout)?.[0];
    if (violation === undefined && (unfinished !== undefined || !/errors: 0\b/.test(stdout))) {
      throw new Error(`the search was not finished: ${unfinished ?? stdout.slice(-2000)}`);
    }
    const story = violation === undefined ? [] : await retell(spin, model, options, directory);
    return { violation, states: statesOf(stdout), memoryMb: memoryOf(stdout), seconds, story };
  } finally {
    await rm(directory, { recursive: true });
  }
}

/** The steps of the trail that the search left, as the model prints them. */
async function retell(spin: string, model: string, options: readonly string[], cwd: string): Promise<string[]> {
  const trail = (await readdir(cwd)).find((name) => name.endsWith(".trail"));
  if (trail === undefined) return [];
  const args = [...options, "-k", trail, model];
  // Spin ends with an error code where the trail ends in a failed assertion.
  const told = await execute(spin, args, { cwd, maxBuffer: outputBytesMax }).catch(
    (error: unknown) => error as { stdout?: string },
  );
  const lines = (told.stdout ?? "").split("\n");
  const end = lines.findIndex((line) => line.startsWith("spin: trail ends"));
  return lines.slice(0, end === -1 ? undefined : end).map((line) => line.trim());
}

function statesOf(output: string): number {
  return Math.round(Number(/([\d.e+]+) states, stored/.exec(output)?.[1] ?? Number.NaN));
}

function memoryOf(output: string): number {
  return Math.round(Number(/([\d.]+)\s+total actual memory usage/.exec(output)?.[1] ?? Number.NaN));
}

async function find(program: string): Promise<string | undefined> {
  for (const directory of (process.env["PATH"] ?? "").split(delimiter)) {
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
