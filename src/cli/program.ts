import { Command, CommanderError } from "commander";
import packageJson from "../../package.json" with { type: "json" };
import { createBenchCommand } from "./bench.ts";
import { createCheckStorageCommand } from "./check-storage.ts";
import { createClusterCommand } from "./cluster.ts";
import { createExportCommand } from "./export.ts";
import { reportFailure } from "./failure.ts";
import { createImportCommand } from "./import.ts";
import { exitCodes } from "./io.ts";
import type { CliIo } from "./io.ts";
import { createProtoCommand } from "./proto.ts";
import { createPublishCommand } from "./publish.ts";
import { createServeCommand } from "./serve.ts";
import { createStreamsCommand } from "./streams.ts";
import { createSubscribeCommand } from "./subscribe.ts";
import { createVerifyCommand } from "./verify.ts";

const examples = `
Examples:
  $ message-vault serve
  $ git log --format='{"id":"%H","time":%ct}' | message-vault publish history --format json --key-field id
  $ message-vault subscribe history --from last:10 --follow

\`message-vault COMMAND --help\` tells more of each.
`;

/** Runs the command line. \`argv\` begins with the command's name. Resolves to the exit code; never rejects. */
export async function runCli(argv: readonly string[], io: CliIo): Promise<number> {
  let exitCode: number = exitCodes.done;
  const program = createProgram(io, (code) => {
    exitCode = code;
  });
  try {
    await program.parseAsync(argv, { from: "user" });
    return exitCode;
  } catch (error) {
    // Commander has said what is wrong by itself, or printed the help that was asked for.
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.done : exitCodes.usage;
    return reportFailure(io, error);
  }
}

function createProgram(io: CliIo, finish: (code: number) => void): Command {
  const program = new Command("message-vault")
    .version(packageJson.version, "-V, --version", "print the version")
    .description("Publish-subscribe with replay on page blobs: runs a vault, and talks to one.")
    .addHelpText("after", examples);
  const creators = [
    createServeCommand,
    createPublishCommand,
    createSubscribeCommand,
    createExportCommand,
    createImportCommand,
    createStreamsCommand,
    createClusterCommand,
    createBenchCommand,
    createVerifyCommand,
    createCheckStorageCommand,
    createProtoCommand,
  ];
  for (const create of creators) program.addCommand(create(io, finish));
  setUp(program, io);
  return program;
}

// Commander hands settings down to subcommands that it makes itself, but not to those that are added.
function setUp(command: Command, io: CliIo): void {
  command
    .exitOverride()
    .showHelpAfterError("(add --help for what can be given)")
    .configureOutput({
      writeOut: (text) => void io.stdout.write(text),
      writeErr: (text) => void io.stderr.write(text),
    });
  for (const subcommand of command.commands) setUp(subcommand, io);
}
