import { Command, Option } from "commander";
import type { End, Start } from "../stream/commands.ts";
import { addConnectionOptions, withClient } from "./connection.ts";
import type { ConnectionOptions } from "./connection.ts";
import { exitCodes, openOutput, say } from "./io.ts";
import type { CliIo } from "./io.ts";
import { parseEnd, parseStart } from "./parse.ts";
import { findFormatter } from "./subscribe-format.ts";
import type { RecordFormat } from "./subscribe-format.ts";

interface SubscribeOptions extends ConnectionOptions {
  readonly from: Start;
  readonly to?: End;
  readonly follow?: boolean;
  readonly filter?: string;
  readonly format: RecordFormat;
}

const examples = `
Without --follow and --to the command ends at the tail as it stands when it begins. Ends are exclusive.

Formats:
  text   OFFSET  TIME  KEY  VALUE, for people
  lines  the value and a line feed
  json   a JSON object a line: offset (a string), timestamp, key, value, headers, event_time; where bytes are no
         UTF-8, key_base64 and value_base64
  raw    Record messages, each behind its length as a varint

Examples:
  $ message-vault subscribe app-log --from last:10 --follow
  $ message-vault subscribe orders --from 2026-11-22T10:00:00Z --to 2026-11-22T11:00:00Z --format json
  $ message-vault subscribe orders --from 1000 --to count:50 --filter customer-7/
`;

/** The command that prints a stream's records. `finish` gets the exit code. */
export function createSubscribeCommand(io: CliIo, finish: (code: number) => void): Command {
  const command = new Command("subscribe")
    .summary("print a stream's records, and follow it")
    .description("Prints the records of a stream, from any point on.")
    .argument("<stream>", "the stream to read")
    .addOption(
      new Option("--from <start>", "earliest, latest, last:N, an offset, or a timestamp")
        .default({ at: "earliest" }, "earliest")
        .argParser(parseStart),
    )
    .addOption(
      new Option("--to <end>", "tail, count:N, an offset, or a timestamp (default: tail, unless --follow)")
        .argParser(parseEnd)
        .conflicts("follow"),
    )
    .option("-F, --follow", "go on with what is published, until Ctrl-C")
    .option("--filter <prefix>", "only records whose key begins with this")
    .addOption(
      new Option("-f, --format <format>", "how to print records")
        .choices(["text", "lines", "json", "raw"])
        .default("text"),
    )
    .addHelpText("after", examples);
  return addConnectionOptions(command).action(async (stream: string, options: SubscribeOptions) => {
    finish(await printRecords(io, stream, options));
  });
}

async function printRecords(io: CliIo, stream: string, options: SubscribeOptions): Promise<number> {
  const output = openOutput(io);
  const format = findFormatter(options.format);
  const follow = options.follow === true;
  const signal = AbortSignal.any([io.interrupted, output.closed]);
  return withClient(io, options, async (client) => {
    let announced = !(follow && io.stderr.isTTY === true && io.stdout.isTTY === true);
    const end: End = options.to ?? (follow ? { at: "never" } : { at: "tail" });
    const subscription = client.subscribe(stream, { start: options.from, end, keyPrefix: options.filter, signal });
    for await (const delivery of subscription.batches()) {
      if (delivery.recordCount > 0) await output.write(format(delivery));
      if (delivery.caughtUp && !announced) {
        announced = true;
        say(io, "(at the tail; waiting for more, Ctrl-C ends)");
      }
      if (signal.aborted) break;
    }
    return io.interrupted.aborted && !follow ? exitCodes.interrupted : exitCodes.done;
  });
}
