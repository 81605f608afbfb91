/**
 * The examples as programs: built in `node_modules/.cache`, by the very commands that their READMEs give to a newcomer,
 * and built anew where what they are made of has changed.
 */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { delimiter, join, resolve } from "node:path";
import { promisify } from "node:util";
import { findProgram, provideDevelopmentFiles } from "./debian-package.ts";
import { digest, findGo, goHome, provide } from "./interop-parts.ts";

const execute = promisify(execFile);

/** A language with an example. */
export interface Language {
  /** The folder in examples/. */
  readonly name: string;
  /** Programs that must be there. */
  readonly needs: readonly string[];
  /** Folders and files, beside the example's own folder, that it is made of. */
  readonly madeOf: readonly string[];
  /**
   * Where it is run where it stands, the environment for that: Node runs no TypeScript below node_modules, and so the
   * client is its sources. `npm run newcomer` has it run on the package.
   */
  readonly fromSources?: Readonly<Record<string, string>>;
  /** Debian's packages with what it is built with. They are unpacked where they are not installed. */
  readonly debianPackages?: readonly string[];
  /** The programs, as they are called in the example's folder once it is built. */
  readonly publisher: readonly [string, ...string[]];
  readonly subscriber: readonly [string, ...string[]];
  /** A shell's command, run in that folder, that fails where the sources are not in order. */
  readonly lint?: string;
}

/** A built example. */
export interface Example {
  readonly language: Language;
  /** The folder that its programs are called in, and the environment for them. */
  readonly directory: string;
  readonly environment: Readonly<Record<string, string>>;
}

// Many of them run at once: small heaps, one thread for their collection, and no optimizing of what runs for a minute.
const java = ["-XX:+UseSerialGC", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp", "target/classes:target/lib/*"];

/** All examples that are run: .NET's is not. */
export const languages: readonly Language[] = [
  {
    name: "go",
    needs: ["go"],
    madeOf: ["proto"],
    publisher: ["bin/publisher"],
    subscriber: ["bin/subscriber"],
    lint: 'test -z "$(gofmt -l cmd vault)" && go vet ./...',
  },
  {
    name: "python",
    needs: ["python3"],
    madeOf: ["proto"],
    publisher: [".venv/bin/python", "publisher.py"],
    subscriber: [".venv/bin/python", "subscriber.py"],
    lint: ".venv/bin/pip install --quiet ruff==0.17.5 && .venv/bin/ruff check && .venv/bin/ruff format --check",
  },
  {
    name: "java",
    needs: ["java", "mvn"],
    madeOf: ["proto"],
    publisher: ["java", ...java, "example.Publisher"],
    subscriber: ["java", ...java, "example.Subscriber"],
    lint: 'javac -Xlint:all -Werror -d target/lint -cp "target/classes:$(echo target/lib/*.jar | tr " " ":")" src/main/java/example/*.java',
  },
  {
    name: "cpp",
    needs: ["g++", "cmake", "pkg-config"],
    madeOf: ["proto", "third_party"],
    // The first line of examples/cpp/README.md installs these.
    debianPackages: ["libgrpc++-dev", "libprotobuf-dev", "protobuf-compiler-grpc", "clang-format"],
    publisher: ["build/publisher"],
    subscriber: ["build/subscriber"],
    lint: "clang-format --dry-run -Werror *.cpp *.hpp",
  },
  {
    name: "typescript",
    needs: ["npm"],
    madeOf: [],
    fromSources: { NODE_OPTIONS: "--conditions=message-vault-source" },
    publisher: ["node", "publisher.ts"],
    subscriber: ["node", "subscriber.ts"],
  },
];

/** The built example of a language; undefined where the machine has no tools for it. */
export async function provideExample(language: Language): Promise<Example | undefined> {
  if (!(await hasTools(language))) return undefined;
  const { name, madeOf, fromSources } = language;
  if (fromSources !== undefined) {
    return { language, directory: resolve("examples", name), environment: fromSources };
  }
  const key = createHash("sha256");
  for (const part of [join("examples", name), ...madeOf]) key.update(await digest(resolve(part)));
  const environment = await environmentOf(language);
  const made = await provide(`example-${name}`, key.digest("hex"), async (target) => {
    console.log(`… building the example in ${name}, as its README says`);
    await runShell(await readCommands(name, "Build"), target, environment);
  });
  return { language, directory: join(made, "first-steps"), environment };
}

/** Checks an example's sources with its language's own tools. Throws what they say. */
export async function lintExample({ language, directory, environment }: Example): Promise<void> {
  if (language.lint !== undefined) await runShell(language.lint, directory, environment);
}

/** The environment that an example's commands are run in, beside what is there. */
export async function environmentOf({ debianPackages }: Language): Promise<Readonly<Record<string, string>>> {
  const path = [join(process.cwd(), "node_modules/.bin"), process.env["PATH"] ?? "", goHome].join(delimiter);
  const own = { MESSAGE_VAULT: process.cwd(), PATH: path };
  if (debianPackages === undefined) return own;
  const files = await provideDevelopmentFiles("cpp", debianPackages);
  return { ...own, ...files, PATH: [files["PATH"], path].filter(Boolean).join(delimiter) };
}

/** The commands in the section of an example's README with this heading. */
export async function readCommands(name: string, heading: string): Promise<string> {
  const text = await readFile(join("examples", name, "README.md"), "utf8");
  const section = text.split(/^## /m).find((part) => part.startsWith(`${heading}\n`));
  const blocks = [...(section ?? "").matchAll(/^```sh\n(.*?)^```$/gms)].map(([, commands]) => commands);
  if (blocks.length === 0) throw new Error(`examples/${name}/README.md has no commands under "${heading}"`);
  return blocks.join("");
}

// A cold build of the largest, with another beside it.
const commandsMsMax = 900_000;

/** Runs a shell's commands up to the first that fails. Resolves to what they print. */
export async function runShell(
  commands: string,
  directory: string,
  environment: Readonly<Record<string, string>>,
): Promise<string> {
  const options = { cwd: directory, env: { ...process.env, ...environment }, timeout: commandsMsMax };
  try {
    return (await execute("sh", ["-euc", commands], { ...options, maxBuffer: 16 * 1024 * 1024 })).stdout;
  } catch (error) {
    const { stderr = "", stdout = "", message } = error as Error & { stderr?: string; stdout?: string };
    throw new Error(`these commands failed:\n${commands}${(stdout + stderr).slice(-4000) || message}`, {
      cause: error,
    });
  }
}

/** Whether the machine has the programs that a language needs; says which one it lacks. */
export async function hasTools({ name, needs }: Language): Promise<boolean> {
  for (const program of needs) {
    const found = program === "go" ? await findGo() : await findProgram(program);
    if (found !== undefined) continue;
    console.log(`… no ${program} here: the example in ${name} is left out`);
    return false;
  }
  return true;
}
