import { Command, Option } from "commander";
import type { VaultClient } from "../client.ts";
import type { Delivery } from "../client/delivery.ts";
import { cutRecords } from "../client/delivery.ts";
import { isKind, VaultError } from "../errors.ts";
import type { End, Start } from "../stream/commands.ts";
import { addConnectionOptions, withClient } from "./connection.ts";
import type { ConnectionOptions } from "./connection.ts";
import { describeBytes, describeCount, describeSome, toJsonFields, toJsonLine } from "./describe.ts";
import { exitCodes, say } from "./io.ts";
import type { CliIo } from "./io.ts";
import { parseBoundary, parseStart } from "./parse.ts";
import { createProgress } from "./progress.ts";
import { addFormatOption, describeFault, findFormat, openWriter, standardName } from "./record-file.ts";
import type { FileFormat, RecordWriter } from "./record-file.ts";
import { fromRecordLine, readOffset, toRecordLine } from "./record-json.ts";
import { readStoredRecord } from "./stored-record.ts";
import { toDelimited } from "./subscribe-format.ts";

interface ExportOptions extends ConnectionOptions {
  readonly format?: FileFormat;
  readonly from: Start;
  readonly until: End;
  readonly resume?: boolean;
  readonly json?: boolean;
}

interface Exported {
  recordCount: number;
  sizeBytes: number;
  firstOffset: bigint | undefined;
  nextOffset: bigint | undefined;
}

const examples = `
The file has every record with its offset, timestamp, key, value, headers and event time, in the stream's order.

Formats:
  json      a JSON object a line: offset (a string), timestamp, key, value, headers (a list of name and value),
            event_time. Bytes that are no UTF-8 stand in base64 in key_base64 and value_base64. Nothing is lost.
  protobuf  Record messages (messagevault.v1.Record), each behind its length as a varint: what protobuf libraries call
            delimited. Faster and smaller.

An export that was interrupted goes on where its file ends, with --resume; what is cut short there is written anew. The
file's last record is compared with the stream's first, so that nothing is put behind the records of another stream.

Examples:
  $ message-vault export orders orders.jsonl
  $ message-vault export orders orders.pb --resume
  $ message-vault export orders - --from 2026-11-22T10:00:00Z --until 2026-11-22T11:00:00Z | gzip > orders.jsonl.gz
  $ message-vault export orders - --format protobuf | message-vault import copy - --format protobuf
`;

/** The command that writes a stream's records to a file. `finish` gets the exit code. */
export function createExportCommand(io: CliIo, finish: (code: number) => void): Command {
  const command = new Command("export")
    .summary("write a stream's records to a file")
    .description("Writes the records of a stream to a file, or to standard output, so that nothing of them is lost.")
    .argument("<stream>", "the stream to read")
    .argument("<file>", `the file to write; ${standardName} is standard output`)
    .addOption(
      new Option("--from <start>", "earliest, last:N, an offset, or a timestamp")
        .default({ at: "earliest" }, "earliest")
        .argParser(parseStart),
    )
    .addOption(
      new Option("--until <end>", "where to end, exclusive: tail, an offset, or a timestamp")
        .default({ at: "tail" }, "tail")
        .argParser(parseBoundary),
    )
    .option("--resume", "go on where the file ends; where there is none, begin it")
    .option("--json", "print the summary as JSON on standard output")
    .addHelpText("after", examples);
  addFormatOption(command);
  return addConnectionOptions(command).action(async (stream: string, file: string, options: ExportOptions) => {
    finish(await exportStream(io, stream, file, options));
  });
}

async function exportStream(io: CliIo, stream: string, file: string, options: ExportOptions): Promise<number> {
  if (file === standardName && (options.json === true || options.resume === true)) {
    say(io, "error: the records go to standard output: name a file to use --json or --resume");
    return exitCodes.usage;
  }
  const format = findFormat(file, options.format);
  return withClient(io, options, async (client) => {
    // First: a name that is wrong must not leave an empty file behind.
    await client.getStream(stream, { signal: io.interrupted });
    const writer = await openWriter(io, file, format, options.resume === true);
    const startedAt = io.clock.monotonic();
    const exported: Exported = { recordCount: 0, sizeBytes: 0, firstOffset: undefined, nextOffset: undefined };
    try {
      const start = await findStart(client, stream, file, format, writer, options.from);
      await writeRecords(io, client, { stream, format, start, end: options.until }, writer, exported);
    } catch (error) {
      throw isKind(error, "alreadyExists") ? error : describeFault(file, error);
    } finally {
      await writer.close();
    }
    const complete = !io.interrupted.aborted;
    const seconds = (io.clock.monotonic() - startedAt) / 1000;
    say(io, `${complete ? "exported" : "interrupted after"} ${describeExported(exported, seconds)}`);
    if (options.json === true) {
      io.stdout.write(toJsonLine({ stream, file, format, complete, ...toJsonFields({ ...exported, seconds }) }));
    }
    return complete ? exitCodes.done : exitCodes.interrupted;
  });
}

/** Where to begin: behind what the file has already. Throws `conflict` where that is not what the stream has there. */
async function findStart(
  client: VaultClient,
  stream: string,
  file: string,
  format: FileFormat,
  { last }: RecordWriter,
  from: Start,
): Promise<Start> {
  if (last === undefined) return from;
  const line = format === "json" ? Buffer.from(last).toString() : toRecordLine(last).trimEnd();
  const offset = readOffset(fromRecordLine(Buffer.from(line), `the last record of ${file}`));
  const stored = toRecordLine(await readStoredRecord(client, stream, offset)).trimEnd();
  if (stored !== line) {
    throw new VaultError("conflict", `${file} ends with another record ${offset} than the stream ${stream} has`);
  }
  return { at: "offset", offset: offset + 1n };
}

async function writeRecords(
  io: CliIo,
  client: VaultClient,
  source: { readonly stream: string; readonly format: FileFormat; readonly start: Start; readonly end: End },
  writer: RecordWriter,
  exported: Exported,
): Promise<void> {
  const { stream, format, start, end } = source;
  if (start.at === "offset" && end.at === "offset" && start.offset >= end.offset) return;
  const progress = createProgress(io);
  const startedAt = io.clock.monotonic();
  const signal = AbortSignal.any([io.interrupted, writer.closed]);
  for await (const delivery of client.subscribe(stream, { start, end, signal }).batches()) {
    if (signal.aborted) break;
    if (delivery.recordCount === 0) continue;
    const data = format === "json" ? toLines(delivery) : toDelimited(delivery);
    await writer.write(data);
    exported.firstOffset ??= delivery.nextOffset - BigInt(delivery.recordCount);
    exported.nextOffset = delivery.nextOffset;
    exported.recordCount += delivery.recordCount;
    exported.sizeBytes += data.length;
    progress.update(() => {
      const target = end.at === "offset" && end.offset < delivery.tailOffset ? end.offset : delivery.tailOffset;
      const seconds = (io.clock.monotonic() - startedAt) / 1000;
      return `${describeExported(exported, seconds)}, ${describeCount(target - delivery.nextOffset)} to go at most`;
    });
  }
  progress.clear();
}

function toLines(delivery: Delivery): Buffer {
  return Buffer.from(Array.from(cutRecords(delivery.bytes), toRecordLine).join(""));
}

function describeExported({ recordCount, sizeBytes, nextOffset }: Exported, seconds: number): string {
  const rate = describeCount(Math.round(recordCount / Math.max(0.001, seconds)));
  const end = nextOffset === undefined ? "" : ` up to offset ${nextOffset}`;
  return `${describeSome(recordCount, "record")}${end}, ${describeBytes(sizeBytes)}, ${rate} records/s`;
}
