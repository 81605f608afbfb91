import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type { Readable } from "node:stream";
import type { Example } from "../../scripts/examples.ts";
import type { Scope } from "./create-scope.ts";
import { digestRecord } from "./interop-records.ts";
import type { JsonRecord } from "./interop-records.ts";

/** A batch that a publisher says is stored: a PublishResponse in protobuf's JSON form. */
interface JsonReceipt {
  readonly firstOffset?: string;
  readonly nextOffset?: string;
  readonly duplicate?: boolean;
}

/** An example's publisher that runs. */
export interface RunningPublisher {
  /** What it was given, as digests, in order. */
  readonly sent: readonly string[];
  /** How many records it was told are stored. */
  readonly acknowledgedCount: number;
  /** What it said that does not follow from what it said before. */
  readonly faults: readonly string[];
  /** Gives it a record; resolves when it can take more. */
  give(record: JsonRecord): Promise<void>;
  /** Lets it end; resolves when it has. */
  finish(): Promise<ProgramEnd>;
}

/** An example's subscriber that runs. */
export interface RunningSubscriber {
  /** The records that it printed, as digests, in order. */
  readonly received: readonly string[];
  /** The timestamp of each, in milliseconds since 1970. */
  readonly timestamps: readonly number[];
  readonly faults: readonly string[];
  /** Presses Ctrl-C; resolves when it has ended. */
  interrupt(): Promise<ProgramEnd>;
}

/** How a program ended. */
export interface ProgramEnd {
  readonly code: number | string | null;
  readonly errors: string;
}

/** Starts an example's publisher, until `scope` ends. */
export function startPublisher(scope: Scope, example: Example, addresses: string, stream: string): RunningPublisher {
  const program = start(scope, example, example.language.publisher, [addresses, stream]);
  const { stdin } = program.child;
  const sent: string[] = [];
  const faults: string[] = [];
  let acknowledgedCount = 0;
  program.onLine((line) => {
    const { firstOffset = "0", nextOffset = "0" } = JSON.parse(line) as JsonReceipt;
    if (Number(firstOffset) !== acknowledgedCount) faults.push(`after ${acknowledgedCount} came ${line}`);
    acknowledgedCount = Number(nextOffset);
  });
  // Who has ended too early is found by its exit code.
  stdin?.on("error", () => undefined);
  return {
    sent,
    faults,
    get acknowledgedCount() {
      return acknowledgedCount;
    },
    async give(record) {
      sent.push(digestRecord(record));
      if (stdin?.write(`${JSON.stringify(record)}\n`) === false)
        await Promise.race([once(stdin, "drain"), program.ended]);
    },
    finish() {
      stdin?.end();
      return program.ended;
    },
  };
}

/** Starts an example's subscriber from the stream's beginning, until `scope` ends. */
export function startSubscriber(scope: Scope, example: Example, addresses: string, stream: string): RunningSubscriber {
  const program = start(scope, example, example.language.subscriber, [addresses, stream, "earliest"]);
  const received: string[] = [];
  const timestamps: number[] = [];
  const faults: string[] = [];
  program.onLine((line) => {
    const record = JSON.parse(line) as JsonRecord;
    if (Number(record.offset ?? "0") !== received.length) faults.push(`at ${received.length} came ${record.offset}`);
    received.push(digestRecord(record));
    timestamps.push(Date.parse(record.timestamp ?? ""));
  });
  return {
    received,
    timestamps,
    faults,
    interrupt() {
      program.child.kill("SIGINT");
      return program.ended;
    },
  };
}

interface Program {
  readonly child: ChildProcess;
  readonly ended: Promise<ProgramEnd>;
  onLine(take: (line: string) => void): void;
}

function start(scope: Scope, example: Example, command: readonly string[], args: readonly string[]): Program {
  const { directory, environment } = example;
  const [name = "", ...more] = command;
  const path = name.includes("/") ? join(directory, name) : name;
  const child = spawn(path, [...more, ...args], { cwd: directory, env: { ...process.env, ...environment } });
  let errors = "";
  child.stderr.on("data", (text: Buffer) => (errors = (errors + text.toString()).slice(-10_000)));
  const ended = new Promise<ProgramEnd>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => resolve({ code: code ?? signal, errors }));
  });
  scope.teardown(async () => {
    child.kill("SIGKILL");
    await ended;
  });
  return { child, ended, onLine: (take) => readLines(child.stdout, take) };
}

/** Calls `take` with each line, at line feeds alone: `readline` ends lines at U+2028 too, which JSON may have in it. */
function readLines(output: Readable, take: (line: string) => void): void {
  let rest = "";
  output.setEncoding("utf8").on("data", (text: string) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    lines.forEach(take);
  });
}
