/** Spin, the model checker, from Debian's package `spin`, and the C compiler that it needs. */
import { execFile } from "node:child_process";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { findProgram, provideProgram } from "./debian-package.ts";

const execute = promisify(execFile);

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

/** The path of Spin. Throws, saying what to do, where it cannot be had or there is no C compiler. */
export async function provideSpin(): Promise<string> {
  if ((await findProgram("gcc")) === undefined) {
    throw new Error("a C compiler is needed: install gcc (apt-get install gcc)");
  }
  return provideProgram("spin", "spin");
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
