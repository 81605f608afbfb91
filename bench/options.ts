import { tmpdir } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

/** What `npm run bench` was asked for. */
export interface BenchOptions {
  readonly command: "bench" | "memory" | "startup";
  readonly rounds: number;
  /** How long a measurement of a round loads what it measures. */
  readonly seconds: number;
  /** What is stored to be replayed in each round, or in all for memory and startup, in bytes. */
  readonly bytes: number;
  readonly streams: number;
  /** How long the long stream of `--full` is. */
  readonly records: number;
  /** Names of groups, measurements and bars; everything where there are none. */
  readonly only: readonly string[];
  readonly full: boolean;
  readonly json: boolean;
  readonly check: boolean;
  /** Where the files are made, in a directory of their own. */
  readonly directory: string;
  /** Where pictures go. */
  readonly plots: string;
  readonly saveBaseline: boolean;
  /** Where the vaults leave profiles of their processor time. */
  readonly profile: string | undefined;
}

/** What the bench can do. */
export const usage = `npm run bench -- [COMMAND] [OPTIONS]

Commands:
  bench        speed beside its limits (the default)
  memory       resident memory of a vault while records are published and replayed
  startup      how long a vault with many streams takes to serve

Options:
  --only NAMES       groups, measurements or bars, separated by commas: publish_file brings its limits
  --full             also all sizes, batches and producers, more replays, many streams, and a long one
  --records N        how many records the long stream has (100000000, for which the disk needs 29 GB free)
  --rounds N         how often everything is measured, in turn (5)
  --seconds N        how long each measurement publishes (1)
  --bytes SIZE       how much is replayed in each measurement (300MB); memory, startup: how much in all (5GB)
  --quick            half as long, half as much; memory, startup: a tenth
  --streams N        startup: how many streams (1000)
  --check            fail where a bar is missed; memory: 300 MiB resident; startup: 1 s until it listens
  --json             one JSON object on the standard output
  --directory PATH   where the files are made (the system's directory for temporary files)
  --plots DIR        where SVG pictures go (bench/results)
  --save-baseline    store the figures in bench/baseline.json, which later runs are compared with
  --profile PATH     have the vaults write profiles of their processor time there
`;

const resultsDirectory = fileURLToPath(new URL("results", import.meta.url));

const commands = ["bench", "memory", "startup"] as const;

/** Reads the command line. Throws an error that says what is wrong. */
export function parseOptions(args: readonly string[]): BenchOptions | "help" {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      rounds: { type: "string", default: "5" },
      seconds: { type: "string" },
      bytes: { type: "string" },
      streams: { type: "string", default: "1000" },
      records: { type: "string", default: "100000000" },
      only: { type: "string", default: "" },
      quick: { type: "boolean", default: false },
      full: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      check: { type: "boolean", default: false },
      directory: { type: "string", default: tmpdir() },
      plots: { type: "string", default: resultsDirectory },
      "save-baseline": { type: "boolean", default: false },
      profile: { type: "string" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) return "help";
  const [name = "bench", ...more] = positionals;
  const command = commands.find((known) => known === name);
  if (command === undefined || more.length > 0) throw new Error(`'${positionals.join(" ")}' is no command`);
  const { quick, full, json, check, directory, profile } = values;
  return {
    command,
    rounds: parseCount("--rounds", values.rounds),
    seconds: parseSeconds("--seconds", values.seconds ?? (quick ? "0.5" : "1")),
    bytes: parseSize("--bytes", values.bytes ?? defaultBytes(command, quick)),
    streams: parseCount("--streams", values.streams),
    records: parseCount("--records", values.records),
    only: values.only.split(",").filter((name) => name !== ""),
    full,
    json,
    check,
    directory,
    plots: values.plots,
    saveBaseline: values["save-baseline"],
    profile,
  };
}

function defaultBytes(command: BenchOptions["command"], quick: boolean): string {
  if (command === "bench") return quick ? "150MB" : "300MB";
  return quick ? "500MB" : "5GB";
}

function parseSeconds(option: string, text: string): number {
  const value = Number(text);
  if (!(value > 0 && value <= 3600)) throw new Error(`${option}: '${text}' is no number of seconds above 0`);
  return value;
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
