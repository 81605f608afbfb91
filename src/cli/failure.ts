import { VaultError } from "../errors.ts";
import { exitCodes, say } from "./io.ts";
import type { CliIo } from "./io.ts";

/** Says what went wrong and what to do next. Returns the exit code. */
export function reportFailure(io: CliIo, error: unknown): number {
  say(io, `error: ${describeFailure(error)}`);
  const hint = error instanceof VaultError ? findHint(error) : undefined;
  if (hint !== undefined) say(io, `hint: ${hint}`);
  return exitCodes.failed;
}

/** What went wrong, for people. A fault of the program's own comes with its stack. */
export function describeFailure(error: unknown): string {
  if (error instanceof VaultError) return error.message;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

function findHint(error: VaultError): string | undefined {
  const { kind, detail, message } = error;
  if (message.startsWith("no connection to") && !message.includes("ECONNREFUSED")) {
    return "if the vault speaks TLS, give --tls or --tls-ca FILE; else leave both out. Is the address right?";
  }
  if (message.startsWith("no connection to")) {
    return "is the vault running? Start it with `npm start`, or say where it is with --address HOST:PORT.";
  }
  switch (kind) {
    case "notFound":
      return "`message-vault streams list` shows the streams that there are.";
    case "alreadyExists":
      return "`message-vault streams update` changes a stream's settings.";
    case "outOfRange":
      return "`--from earliest` begins at the first record that is kept, `--from latest` at the next one.";
    case "conflict":
      return detail.condition === "incarnation" ? "the stream was deleted and created again." : undefined;
    case "overloaded":
      return "the vault is at a limit: try again later, or publish more slowly.";
    case "indeterminate":
      return "it is not known whether this was done: look before you do it again.";
    case "corrupt":
      return "`message-vault verify STREAM --storage URL` shows what is damaged.";
    default:
      return undefined;
  }
}
