import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Command } from "commander";
import { VaultError } from "../errors.ts";
import { exitCodes } from "./io.ts";
import type { CliIo } from "./io.ts";

const examples = `
Examples:
  $ protoc -I "$(message-vault proto)" --go_out=. messagevault/v1/vault.proto
  $ cp -r "$(message-vault proto)" proto
`;

/** The command that says where the API's proto files are, for generating clients. `finish` gets the exit code. */
export function createProtoCommand(io: CliIo, finish: (code: number) => void): Command {
  return new Command("proto")
    .summary("print where the proto files are")
    .description("Prints the directory of the API's proto files, which is the include path for generating clients.")
    .addHelpText("after", examples)
    .action(() => {
      io.stdout.write(`${findProtoDirectory()}\n`);
      finish(exitCodes.done);
    });
}

/** Where the proto files are: beside `src/`, or, in the package, beside `dist/`. */
export function findProtoDirectory(): string {
  const places = ["../../proto", "../../../proto"].map((place) => fileURLToPath(new URL(place, import.meta.url)));
  const found = places.find((place) => existsSync(`${place}/messagevault/v1/vault.proto`));
  if (found === undefined) throw new VaultError("notFound", `the proto files are not in ${places.join(" or ")}`);
  return found;
}
