#!/usr/bin/env node
/** The command line's process: signals in, an exit code out. */
import { enableCompileCache } from "node:module";

// Before the rest is loaded: from the second start on nothing is compiled again, which halves the time to serve.
enableCompileCache();
const { exitCodes } = await import("./cli/io.ts");
const { runCli } = await import("./cli/program.ts");
const { systemClock } = await import("./clock.ts");

const interruption = new AbortController();

function interrupt(): void {
  if (interruption.signal.aborted) process.exit(exitCodes.interrupted);
  interruption.abort();
}

// A reader that went away (`| head`) is no reason to crash; commands that write much notice it by themselves.
process.stdout.on("error", () => undefined);
process.on("SIGINT", interrupt);
process.on("SIGTERM", interrupt);

// The clock's timers do not keep a process alive, and a command may wait for nothing else: for storage that cannot be
// reached, say. What follows ends the process.
new MessageChannel().port1.ref();

const exitCode = await runCli(process.argv.slice(2), {
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  interrupted: interruption.signal,
  clock: systemClock,
});

// What was written may still be on its way to a pipe; if nobody reads it any more, this is called all the same.
process.stdout.write("", () => process.exit(exitCode));
