import { tmpdir } from "node:os";
import { parseArgs } from "node:util";

/** What `npm run bench` was asked for. */
export interface BenchOptions {
  readonly command: "throughput" | "memory" | "startup";
  readonly rounds: number;
  /** What goes through in a round of a measurement on files, or in all for the other commands, in bytes. */
  readonly bytes: number;
  readonly streams: number;
  readonly only: "file" | "azurite" | undefined;
  readonly json: boolean;
  /** Whether to fail where a bar is missed: those of memory and startup do not depend on how fast the machine is. */
  readonly check: boolean;
  /** Where the files are made, in a directory of their own. */
  readonly directory: string;
  /** Where the vaults leave profiles of their processor time. */
  readonly profile: string | undefined;
}

/** What the bench can do. */
export const usage = `npm run bench -- [COMMAND] [OPTIONS]

Commands:
  throughput   publish and replay beside their limits (the default)
  memory       resident memory of a vault while records are published and replayed
  startup      how long a vault with many streams takes to serve

Options:
  --rounds N         how often everything is measured, in turn (7; with --quick 3)
  --bytes SIZE       how much in each measurement of a round (400MB; with --quick 100MB; a quarter on Azurite);
                     memory and startup: how much in all (5GB; with --quick 500MB)
  --streams N        startup: how many streams (1000)
  --only file|azurite
  --quick            about 40 s instead of 4 minutes
  --check            memory, startup: fail above 300 MiB resident, or 1 s until it listens
  --json             one JSON object on the standard output
  --directory PATH   where the files are made (the system's directory for temporary files)
  --profile PATH     have the vaults write profiles of their processor time there
`;

const commands = ["throughput", "memory", "startup"] as const;

/** Reads the command line. Throws an error that says what is wrong. */
export function parseOptions(args: readonly string[]): BenchOptions | "help" {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      rounds: { type: "string" },
      bytes: { type: "string" },
      streams: { type: "string", default: "1000" },
      only: { type: "string" },
      quick: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      check: { type: "boolean", default: false },
      directory: { type: "string", default: tmpdir() },
      profile: { type: "string" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) return "help";
  const [name = "throughput", ...more] = positionals;
  const command = commands.find((known) => known === name);
  if (command === undefined || more.length > 0) throw new Error(`'${positionals.join(" ")}' is no command`);
  const { only, quick, json, check, directory, profile } = values;
  if (only !== undefined && only !== "file" && only !== "azurite") throw new Error("--only: file or azurite");
  const rounds = parseCount("--rounds", values.rounds ?? (quick ? "3" : defaultRounds(command)));
  const bytes = parseSize("--bytes", values.bytes ?? defaultBytes(command, quick));
  const streams = parseCount("--streams", values.streams);
  return { command, rounds, bytes, streams, only, json, check, directory, profile };
}

function defaultRounds(command: BenchOptions["command"]): string {
  return command === "throughput" ? "7" : "5";
}

function defaultBytes(command: BenchOptions["command"], quick: boolean): string {
  if (command === "throughput") return quick ? "100MB" : "400MB";
  return quick ? "500MB" : "5GB";
}

function parseCount(option: string, text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < 1) throw new Error(`${option}: '${text}' is no whole number above 0`);
  return value;
}

const sizeUnits: Readonly<Record<string, number>> = {
  "": 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  kib: 1024,
  mib: 1024 ** 2,
  gib: 1024 ** 3,
};

function parseSize(option: string, text: string): number {
  const [, digits, unit = ""] = /^(\d+(?:\.\d+)?) ?([a-z]*)$/i.exec(text) ?? [];
  const factor = sizeUnits[unit.toLowerCase()];
  if (digits === undefined || factor === undefined) throw new Error(`${option}: '${text}' is no size such as 400MB`);
  return Math.max(1, Math.round(Number(digits) * factor));
}
