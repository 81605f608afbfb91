import { Command, Option } from "commander";
import type { VaultClient } from "../client.ts";
import type { Pipeline } from "../client/pipeline.ts";
import type { Publisher } from "../client/publisher.ts";
import { addConnectionOptions, withClient } from "./connection.ts";
import type { ConnectionOptions } from "./connection.ts";
import { describeBytes, describeCount, describeSome, toJsonFields, toJsonLine } from "./describe.ts";
import { describeFailure, reportFailure } from "./failure.ts";
import { exitCodes, say } from "./io.ts";
import type { CliIo } from "./io.ts";
import { parseDelay, parsePositive, parseSize } from "./parse.ts";
import { createProgress } from "./progress.ts";
import { readDelimited, readLines } from "./publish-input.ts";
import { toRoutedRecord } from "./publish-json.ts";
import { readInput } from "./read-input.ts";

interface PublishOptions extends ConnectionOptions {
  readonly format: "lines" | "json" | "raw";
  readonly streamField?: string;
  readonly keyField?: string;
  readonly headerField?: readonly string[];
  readonly valueField?: string;
  readonly timeField?: string;
  readonly batchBytes: number;
  readonly batchRecords: number;
  readonly linger: number;
  readonly producerId?: string;
  readonly json?: boolean;
}

const examples = `
The vault stores a record once, even where a connection breaks and a batch is sent again. Ctrl-C publishes what was
read, and says how many records that were.

Examples:
  $ printf 'hello\\nworld\\n' | message-vault publish greetings
  $ tail -F app.log | message-vault publish app-log
  $ message-vault publish --format json --stream-field type --key-field user.id --time-field at < events.jsonl
  $ message-vault subscribe old --format raw | message-vault publish new --format raw
`;

/** The command that publishes standard input. `finish` gets the exit code. */
export function createPublishCommand(io: CliIo, finish: (code: number) => void): Command {
  const command = new Command("publish")
    .summary("publish standard input")
    .description("Publishes standard input to a stream: a record a line, unless told otherwise.")
    .argument("[stream]", "the stream to publish to; may be left out with --stream-field")
    .addOption(
      new Option("-f, --format <format>", "lines: a record a line; json: a JSON object a line; raw: Record messages")
        .choices(["lines", "json", "raw"])
        .default("lines"),
    )
    .option("--stream-field <name>", "json: the field that names the stream of each record")
    .option("--key-field <name>", "json: the field that becomes the key")
    .option("--value-field <name>", "json: the field that becomes the value (default: the whole line)")
    .option("--header-field <name>", "json: a field that becomes a header of its name; may be repeated", collect)
    .option("--time-field <name>", "json: the field that becomes the event time: RFC 3339, or a number since 1970")
    .addOption(
      new Option("--batch-bytes <size>", "send a batch once it has so many bytes")
        .argParser(parseSize)
        .default(1024 * 1024, "1 MiB"),
    )
    .option("--batch-records <count>", "send a batch once it has so many records", parsePositive, 10_000)
    .addOption(
      new Option("--linger <duration>", "send a batch so long after its first record")
        .argParser(parseDelay)
        .default(5, "5 ms"),
    )
    .option("--producer-id <id>", "who publishes (default: a new id)")
    .option("--json", "print the summary as JSON on standard output")
    .addHelpText("after", examples);
  return addConnectionOptions(command).action(async (stream: string | undefined, options: PublishOptions) => {
    finish(await publishInput(io, stream, options));
  });
}

function collect(name: string, previous: readonly string[] = []): readonly string[] {
  return [...previous, name];
}

async function publishInput(io: CliIo, stream: string | undefined, options: PublishOptions): Promise<number> {
  if (stream === undefined && (options.format !== "json" || options.streamField === undefined)) {
    say(io, "error: name the stream to publish to, or give --format json with --stream-field");
    return exitCodes.usage;
  }
  return withClient(io, options, async (client) => {
    if (io.stdin.isTTY === true) say(io, "Type one record a line; Ctrl-D ends.");
    const pipeline = client.pipeline(options.producerId === undefined ? {} : { producerId: options.producerId });
    const report = createReport(io, pipeline);
    let failure: unknown;
    try {
      await publishAll(io, client, pipeline, stream, options, report.update);
    } catch (error) {
      failure = error;
    }
    await pipeline.close();
    report.finish(options.json === true, failure);
    if (failure !== undefined) return reportFailure(io, failure);
    return io.interrupted.aborted ? exitCodes.interrupted : exitCodes.done;
  });
}

async function publishAll(
  io: CliIo,
  client: VaultClient,
  pipeline: Pipeline,
  stream: string | undefined,
  options: PublishOptions,
  update: () => void,
): Promise<void> {
  const publishers = new Map<string, Publisher>();
  const { batchBytes, batchRecords, linger: lingerMs } = options;
  const find = (name: string) => {
    const publisher =
      publishers.get(name) ?? client.publisherOn(pipeline, name, { batchBytes, batchRecords, lingerMs });
    publishers.set(name, publisher);
    return publisher;
  };
  const add = createAdder(stream, options, find);
  const input = readInput(io, io.stdin, "standard input");
  const pieces = options.format === "raw" ? readDelimited(input) : readLines(input);
  let failure: { readonly error: unknown } | undefined;
  try {
    for await (const many of pieces) {
      for (const piece of many) {
        const wait = add(piece);
        if (wait !== undefined) await wait;
      }
      update();
    }
  } catch (error) {
    failure = { error };
  }
  // What was read before a line that makes no sense is published all the same.
  for (const publisher of publishers.values()) await publisher.flush();
  if (failure !== undefined) throw failure.error;
}

function createAdder(
  stream: string | undefined,
  options: PublishOptions,
  find: (stream: string) => Publisher,
): (piece: Uint8Array) => Promise<void> | undefined {
  if (options.format === "json") {
    const { streamField, keyField, valueField, headerField: headerFields = [], timeField } = options;
    const fields = { streamField, keyField, valueField, headerFields, timeField };
    let lineNumber = 0;
    return (line) => {
      lineNumber++;
      if (line.length === 0) return undefined;
      const routed = toRoutedRecord(line, lineNumber, fields, stream);
      return find(routed.stream).add(routed.record);
    };
  }
  const publisher = find(stream ?? "");
  return options.format === "raw" ? (record) => publisher.addEncoded(record) : (value) => publisher.add({ value });
}

// Counts while it goes on, and a summary at the end.
function createReport(io: CliIo, pipeline: Pipeline) {
  const { clock } = io;
  const startedAt = clock.monotonic();
  const progress = createProgress(io, io.stdin.isTTY === true);
  const describe = () => {
    const { recordCount, sizeBytes } = pipeline.acknowledged;
    const seconds = Math.max(0.001, (clock.monotonic() - startedAt) / 1000);
    const rate = describeCount(Math.round(recordCount / seconds));
    return `${describeSome(recordCount, "record")}, ${describeBytes(sizeBytes)}, ${rate} records/s`;
  };
  return {
    update: () => progress.update(describe),
    finish(json: boolean, failure: unknown) {
      const { streams, requestCount, recordCount, sizeBytes, duplicateCount } = pipeline.acknowledged;
      const seconds = (clock.monotonic() - startedAt) / 1000;
      const target = streams.size === 1 ? `stream ${[...streams.keys()][0]}` : describeSome(streams.size, "stream");
      const outcome = `published to ${target} and acknowledged: ${describe()}, ${seconds.toFixed(1)} s`;
      progress.clear();
      say(io, recordCount === 0 ? "nothing was published" : outcome);
      if (!json) return;
      const error = failure === undefined ? {} : { error: describeFailure(failure) };
      const complete = failure === undefined && !io.interrupted.aborted;
      const counts = { complete, recordCount, sizeBytes, requestCount, duplicateCount, seconds };
      const ranges = [...streams].map(([name, range]) => [name, toJsonFields(range)]);
      io.stdout.write(toJsonLine({ ...toJsonFields(counts), ...error, streams: Object.fromEntries(ranges) }));
    },
  };
}
