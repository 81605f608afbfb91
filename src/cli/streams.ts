import { createInterface } from "node:readline/promises";
import { Command, Option } from "commander";
import type { VaultClient } from "../client.ts";
import { VaultError } from "../errors.ts";
import type { SettingsChange, StreamInfo, TrimPoint } from "../stream/commands.ts";
import { addConnectionOptions, withClient } from "./connection.ts";
import type { ConnectionOptions } from "./connection.ts";
import { describeBytes, describeCount, describeTable, toJsonFields, toJsonLine } from "./describe.ts";
import { exitCodes, openOutput, say } from "./io.ts";
import type { CliIo } from "./io.ts";
import { parseOffset, parsePoint } from "./parse.ts";
import { addSettingOptions, findSettings, toStreamFields, toStreamText } from "./stream-settings.ts";
import type { SettingOptions } from "./stream-settings.ts";

interface JsonOptions extends ConnectionOptions {
  readonly json?: boolean;
}

type ChangeOptions = JsonOptions & SettingOptions;
type ListOptions = JsonOptions & { readonly long?: boolean };
type DeleteOptions = JsonOptions & { readonly yes?: boolean };
type TrimOptions = JsonOptions & { readonly before: TrimPoint };
type SegmentsOptions = JsonOptions & { readonly from: bigint };

const pageSize = 1000;
const detailsInFlightMax = 16;

/** The commands that manage streams. `finish` gets the exit code. */
export function createStreamsCommand(io: CliIo, finish: (code: number) => void): Command {
  const streams = new Command("streams")
    .summary("list, create, change, trim and delete streams")
    .description(
      "Manages streams. A first publish creates a stream with the vault's defaults, unless the vault is told otherwise.",
    );
  for (const create of [createList, createGet, createCreate, createUpdate, createDelete, createTrim, createSegments]) {
    streams.addCommand(create(io, finish));
  }
  return streams;
}

// A command with what all of them have.
function begin(name: string, description: string, examples: string): Command {
  const command = new Command(name).description(description).option("--json", "print JSON");
  return addConnectionOptions(command).addHelpText("after", `\nExamples:\n${examples}`);
}

function createList(io: CliIo, finish: (code: number) => void): Command {
  return begin(
    "list",
    "Lists streams, by name: one name a line.",
    "  $ message-vault streams list\n  $ message-vault streams list orders- --long\n",
  )
    .argument("[prefix]", "only names that begin with this")
    .option("-l, --long", "show offsets and sizes as well")
    .action(async (prefix: string | undefined, options: ListOptions) => {
      finish(await withClient(io, options, (client) => listStreams(io, client, prefix ?? "", options)));
    });
}

async function listStreams(io: CliIo, client: VaultClient, prefix: string, options: ListOptions): Promise<number> {
  const output = openOutput(io);
  let from: string | undefined = "";
  const rows: StreamInfo[] = [];
  while (from !== undefined && !output.closed.aborted && !io.interrupted.aborted) {
    const page = await client.listStreams(prefix, pageSize, from);
    from = page.next;
    if (options.long === true) rows.push(...(await getDetails(client, page.names)));
    else await output.write(page.names.map((name) => (options.json ? toJsonLine({ name }) : `${name}\n`)).join(""));
  }
  if (options.long === true) {
    await output.write(options.json === true ? rows.map(toStreamFields).map(toJsonLine).join("") : toTable(rows));
  }
  return io.interrupted.aborted ? exitCodes.interrupted : exitCodes.done;
}

async function getDetails(client: VaultClient, names: readonly string[]): Promise<StreamInfo[]> {
  const details: StreamInfo[] = [];
  for (let i = 0; i < names.length; i += detailsInFlightMax) {
    const some = names.slice(i, i + detailsInFlightMax);
    details.push(...(await Promise.all(some.map((name) => client.getStream(name)))));
  }
  return details;
}

function toTable(streams: readonly StreamInfo[]): string {
  const rows = streams.map(({ name, firstOffset, nextOffset, storedBytes, segmentCount }) => [
    name,
    describeCount(nextOffset - firstOffset),
    `${firstOffset}`,
    `${nextOffset}`,
    describeBytes(storedBytes),
    `${segmentCount}`,
  ]);
  return describeTable(["NAME", "RECORDS>", "FIRST>", "NEXT>", "SIZE>", "SEGMENTS>"], rows);
}

function createGet(io: CliIo, finish: (code: number) => void): Command {
  return begin(
    "get",
    "Shows a stream: its bounds, its size and its settings.",
    "  $ message-vault streams get orders\n",
  )
    .argument("<stream>", "the stream's name")
    .action(async (name: string, options: JsonOptions) => {
      finish(await withClient(io, options, async (client) => show(io, await client.getStream(name), options)));
    });
}

function show(io: CliIo, stream: StreamInfo, options: JsonOptions): number {
  io.stdout.write(options.json === true ? toJsonLine(toStreamFields(stream)) : toStreamText(stream));
  return exitCodes.done;
}

function createCreate(io: CliIo, finish: (code: number) => void): Command {
  const command = begin(
    "create",
    "Creates a stream. What is not said has the vault's default.",
    "  $ message-vault streams create orders --retention-age 30d --segment-bytes 64MiB\n",
  ).argument("<stream>", "the stream's name");
  return addSettingOptions(command).action(async (name: string, options: ChangeOptions) => {
    const settings = findSettings(options);
    finish(
      await withClient(io, options, async (client) => show(io, await client.createStream(name, settings), options)),
    );
  });
}

function createUpdate(io: CliIo, finish: (code: number) => void): Command {
  const command = begin(
    "update",
    "Changes a stream's settings: those that are named. `default` gives a setting its default back.",
    "  $ message-vault streams update orders --retention-age 7d\n" +
      "  $ message-vault streams update orders --retention-age default\n",
  ).argument("<stream>", "the stream's name");
  return addSettingOptions(command).action(async (name: string, options: ChangeOptions) => {
    const change: SettingsChange = findSettings(options);
    if (Object.keys(change).length === 0) {
      say(io, "error: say what to change, such as --retention-age 7d");
      finish(exitCodes.usage);
      return;
    }
    finish(await withClient(io, options, async (client) => show(io, await client.updateStream(name, change), options)));
  });
}

function createDelete(io: CliIo, finish: (code: number) => void): Command {
  return begin(
    "delete",
    "Deletes a stream with all its records. There is no way back.",
    "  $ message-vault streams delete orders\n  $ message-vault streams delete orders --yes\n",
  )
    .argument("<stream>", "the stream's name")
    .option("-y, --yes", "do not ask")
    .action(async (name: string, options: DeleteOptions) => {
      finish(await withClient(io, options, (client) => deleteStream(io, client, name, options)));
    });
}

async function deleteStream(io: CliIo, client: VaultClient, name: string, options: DeleteOptions): Promise<number> {
  // What was looked at is what is deleted, and not a stream that was made under that name meanwhile.
  const stream = await client.getStream(name);
  if (options.yes !== true && !(await confirm(io, stream))) return exitCodes.failed;
  await client.deleteStream(name, stream.incarnation);
  if (options.json === true) io.stdout.write(toJsonLine({ name, incarnation: stream.incarnation, deleted: true }));
  else say(io, `deleted ${name}`);
  return exitCodes.done;
}

async function confirm(io: CliIo, stream: StreamInfo): Promise<boolean> {
  if (io.stdin.isTTY !== true) {
    throw new VaultError("invalid", `deleting ${stream.name} needs --yes where nobody can be asked`);
  }
  const recordCount = describeCount(stream.nextOffset - stream.firstOffset);
  const question = `This deletes ${stream.name} with ${recordCount} records. Type its name to go on: `;
  const terminal = createInterface({ input: io.stdin, output: io.stderr });
  try {
    const answer = await terminal.question(question, { signal: io.interrupted });
    if (answer.trim() === stream.name) return true;
    say(io, "nothing was deleted");
    return false;
  } finally {
    terminal.close();
  }
}

function createTrim(io: CliIo, finish: (code: number) => void): Command {
  return begin(
    "trim",
    "Makes everything before a point unreadable. Storage is freed soon after, in whole segments.",
    "  $ message-vault streams trim orders --before 1000\n" +
      "  $ message-vault streams trim orders --before 2026-11-01T00:00:00Z\n",
  )
    .argument("<stream>", "the stream's name")
    .requiredOption("--before <point>", "an offset or a timestamp: what is before it goes", parsePoint)
    .action(async (name: string, options: TrimOptions) => {
      const code = await withClient(io, options, async (client) => {
        const firstOffset = await client.trimStream(name, options.before);
        const text = `the first offset of ${name} is ${firstOffset}\n`;
        io.stdout.write(options.json === true ? toJsonLine({ name, first_offset: firstOffset }) : text);
        return exitCodes.done;
      });
      finish(code);
    });
}

function createSegments(io: CliIo, finish: (code: number) => void): Command {
  return begin(
    "segments",
    "Shows where a stream's bytes are: its segments, with the offsets that they hold.",
    "  $ message-vault streams segments orders --json\n",
  )
    .argument("<stream>", "the stream's name")
    .addOption(
      new Option("--from <offset>", "only segments with this offset or later ones")
        .argParser(parseOffset)
        .default(0n, "0"),
    )
    .action(async (name: string, options: SegmentsOptions) => {
      finish(await withClient(io, options, (client) => listSegments(io, client, name, options)));
    });
}

async function listSegments(io: CliIo, client: VaultClient, name: string, options: SegmentsOptions): Promise<number> {
  const { incarnation, segments } = await client.readAccess(name, options.from);
  if (options.json === true) {
    io.stdout.write(toJsonLine({ name, incarnation, segments: segments.map(toJsonFields) }));
    return exitCodes.done;
  }
  const rows = segments.map(({ blob, firstOffset, nextOffset, endPosition, sealed }) => [
    blob,
    `${firstOffset}`,
    `${nextOffset}`,
    describeBytes(endPosition),
    sealed ? "sealed" : "open",
  ]);
  io.stdout.write(describeTable(["BLOB", "FIRST>", "NEXT>", "SIZE>", "STATE"], rows));
  return exitCodes.done;
}
