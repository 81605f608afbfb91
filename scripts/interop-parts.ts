/**
 * What the tests with parts that npm does not have need, beside Debian's packages: an OTLP receiver built from the
 * OpenTelemetry Collector's Go modules, and Python with gRPC and OpenTelemetry. All of it is put into
 * `node_modules/.cache`, and is made anew where what it is made of has changed.
 */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { access, mkdir, readFile, readdir, rm, stat, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { findProgram } from "./debian-package.ts";

const execute = promisify(execFile);

const sources = resolve("test/interop");
const cache = resolve("node_modules/.cache/interop");
/** A cold build of the receiver takes about a minute on two cores that have nothing else to do, Python a quarter of one. */
const makeMsMax = 600_000;
const outputBytesMax = 16 * 1024 * 1024;

/** Where Go's own archive puts it, which is on the PATH of login shells only. [go.dev/doc/install] */
export const goHome = "/usr/local/go/bin";

/** The path of Go; undefined where there is none. */
export function findGo(): Promise<string | undefined> {
  return findProgram("go", [goHome]);
}

/** The path of the receiver (test/interop/otlp-receiver). Throws where there is no Go to build it with. */
export async function provideOtlpReceiver(): Promise<string> {
  const directory = join(sources, "otlp-receiver");
  const go = await findGo();
  if (go === undefined) throw new Error("Go is needed for the OTLP receiver: install Go 1.26");
  const made = await provide("otlp-receiver", await digest(directory), async (target) => {
    console.log("… building the OTLP receiver from its Go modules");
    const output = join(target, "otlp-receiver");
    await run(go, ["build", "-trimpath", "-o", output, "."], directory);
  });
  return join(made, "otlp-receiver");
}

/** What a Python program of test/interop is run with. */
export interface Python {
  readonly executable: string;
  /** Where the code generated from proto/ is: for PYTHONPATH. */
  readonly generated: string;
}

/** Python with what test/interop/requirements.txt names, and the API's code for it. Throws where there is no Python. */
export async function providePython(): Promise<Python> {
  const python = await findProgram("python3");
  if (python === undefined) throw new Error("Python 3.9 or later is needed: install python3 and python3-venv");
  const requirements = join(sources, "requirements.txt");
  const key = createHash("sha256")
    .update(await readFile(requirements))
    .update(await digest(resolve("proto")));
  const made = await provide("python", key.digest("hex"), async (target) => {
    console.log("… installing gRPC and OpenTelemetry for Python");
    await run(python, ["-m", "venv", join(target, "venv")]);
    const own = join(target, "venv", "bin", "python");
    await run(own, ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements]);
    const generated = join(target, "generated");
    await mkdir(generated);
    const files = (await readdir("proto/messagevault/v1")).map((name) => `messagevault/v1/${name}`);
    const options = ["-Iproto", `--python_out=${generated}`, `--grpc_python_out=${generated}`];
    await run(own, ["-m", "grpc_tools.protoc", ...options, ...files]);
  });
  return { executable: join(made, "venv", "bin", "python"), generated: join(made, "generated") };
}

/** A directory that `make` has filled, for this `key`. One whose making was not finished counts for nothing. */
export async function provide(name: string, key: string, make: (target: string) => Promise<void>): Promise<string> {
  const target = join(cache, `${name}-${key.slice(0, 16)}`);
  const stamp = join(target, "made");
  try {
    await access(stamp);
  } catch {
    await rm(target, { recursive: true, force: true });
    await mkdir(target, { recursive: true });
    await make(target);
    await writeFile(stamp, "");
  }
  return target;
}

async function run(command: string, args: readonly string[], cwd = process.cwd()): Promise<void> {
  try {
    await execute(command, args, { cwd, timeout: makeMsMax, maxBuffer: outputBytesMax });
  } catch (error) {
    const { stderr = "", message } = error as Error & { stderr?: string };
    throw new Error(`${command} ${args[0]} failed: ${stderr.slice(-2000) || message}`, { cause: error });
  }
}

/** What tells one state of a file, or of a directory's files, from another. */
export async function digest(directory: string): Promise<string> {
  if ((await stat(directory)).isFile())
    return createHash("sha256")
      .update(await readFile(directory))
      .digest("hex");
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const hash = createHash("sha256");
  for (const path of paths.toSorted()) hash.update(path).update(await readFile(path));
  return hash.digest("hex");
}
