import type { Readable, Writable } from "node:stream";
import type { Clock } from "../clock.ts";

/** What a command may touch of the process that it runs in. */
export interface CliIo {
  readonly stdin: Readable & { readonly isTTY?: boolean };
  /** For data. */
  readonly stdout: Writable & { readonly isTTY?: boolean };
  /** For people. */
  readonly stderr: Writable & { readonly isTTY?: boolean };
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Aborted by the first Ctrl-C or SIGTERM: the command ends in an orderly way. A second one ends the process. */
  readonly interrupted: AbortSignal;
  readonly clock: Clock;
}

/** The exit codes of all commands. */
export const exitCodes = {
  done: 0,
  failed: 1,
  /** The arguments make no sense. */
  usage: 2,
  /** Ended by Ctrl-C before it was done. */
  interrupted: 130,
} as const;

/** Writes a line for people. */
export function say(io: CliIo, text: string): void {
  io.stderr.write(`${text}\n`);
}

/** Standard output with backpressure; that its reader went away (`| head`) is no error. */
export interface Output {
  /** Resolves when more can be written; undefined if that is so at once. */
  write(data: string | Uint8Array): Promise<void> | undefined;
  /** Aborted when nobody reads any more. */
  readonly closed: AbortSignal;
}

/** Makes an output of `io.stdout`. */
export function openOutput(io: CliIo): Output {
  const closing = new AbortController();
  let drained: PromiseWithResolvers<void> | undefined;
  const release = () => {
    drained?.resolve();
    drained = undefined;
  };
  io.stdout.on("drain", release);
  io.stdout.on("error", (error: NodeJS.ErrnoException) => {
    closing.abort(error);
    release();
  });
  return {
    closed: closing.signal,
    write(data) {
      if (closing.signal.aborted || io.stdout.write(data)) return undefined;
      drained ??= Promise.withResolvers();
      return drained.promise;
    },
  };
}
