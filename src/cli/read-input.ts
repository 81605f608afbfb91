import type { Readable } from "node:stream";
import { VaultError } from "../errors.ts";
import { describeFailure } from "./failure.ts";
import { say } from "./io.ts";
import type { CliIo } from "./io.ts";

/** Yields what `input` has, up to its end or Ctrl-C. Throws `unavailable`, with `name` for the input, if that fails. */
export async function* readInput(io: CliIo, input: Readable, name: string): AsyncGenerator<Uint8Array | string> {
  const stop = () => {
    say(io, "publishing what was read; Ctrl-C again ends at once");
    input.destroy();
  };
  io.interrupted.addEventListener("abort", stop, { once: true });
  try {
    if (io.interrupted.aborted) stop();
    yield* input;
  } catch (error) {
    if (!io.interrupted.aborted) throw new VaultError("unavailable", `${name}: ${describeFailure(error)}`);
  } finally {
    io.interrupted.removeEventListener("abort", stop);
  }
}
