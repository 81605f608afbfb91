import { PassThrough, Readable } from "node:stream";
import { runCli } from "../../src/cli/program.ts";
import type { Clock } from "../../src/clock.ts";
import { systemClock } from "../../src/clock.ts";

/** A command that runs in this process. */
export interface CliRun {
  /** Resolves to the exit code. */
  readonly exited: Promise<number>;
  /** What was printed so far. */
  stdout(): string;
  stdoutBytes(): Buffer;
  stderr(): string;
  /** Presses Ctrl-C. */
  interrupt(): void;
  readonly output: PassThrough;
}

/** Runs the command line in this process. `input` is its standard input. */
export function startCli(
  argv: readonly string[],
  input: string | Uint8Array | Readable = "",
  clock: Clock = systemClock,
): CliRun {
  const interruption = new AbortController();
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const [out, err]: [Buffer[], Buffer[]] = [[], []];
  stdout.on("data", (bytes: Buffer) => out.push(bytes));
  stderr.on("data", (bytes: Buffer) => err.push(bytes));
  const stdin = input instanceof Readable ? input : Readable.from([Buffer.from(input)]);
  // As the command line's own process does: the clock's timers alone do not keep a process alive.
  const keepAlive = setInterval(() => {}, 1000);
  const exited = runCli(argv, { stdin, stdout, stderr, env: {}, interrupted: interruption.signal, clock });
  return {
    exited: exited.finally(() => clearInterval(keepAlive)),
    stdout: () => Buffer.concat(out).toString(),
    stdoutBytes: () => Buffer.concat(out),
    stderr: () => Buffer.concat(err).toString(),
    interrupt: () => interruption.abort(),
    output: stdout,
  };
}
