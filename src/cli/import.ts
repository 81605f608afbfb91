import { stat } from "node:fs/promises";
import { Command, Option } from "commander";
import type { Publisher, StreamInfo, VaultClient } from "../client.ts";
import { isKind, VaultError } from "../errors.ts";
import { addConnectionOptions, withClient } from "./connection.ts";
import type { ConnectionOptions } from "./connection.ts";
import { describeBytes, describeCount, describeSome, toJsonFields, toJsonLine } from "./describe.ts";
import { describeFailure, reportFailure } from "./failure.ts";
import { toImported } from "./imported-record.ts";
import type { OriginalTime } from "./imported-record.ts";
import { exitCodes, say } from "./io.ts";
import type { CliIo } from "./io.ts";
import { parseOffset } from "./parse.ts";
import { createProgress } from "./progress.ts";
import { readInput } from "./read-input.ts";
import { addFormatOption, describeFault, findFormat, readFileChunks, readPieces, standardName } from "./record-file.ts";
import type { FileFormat } from "./record-file.ts";
import { fromRecordLine } from "./record-json.ts";
import { readStoredRecord } from "./stored-record.ts";

interface ImportOptions extends ConnectionOptions {
  readonly format?: FileFormat;
  readonly at: bigint;
  readonly originalTime: OriginalTime;
  readonly json?: boolean;
}

/** What an import has done so far. */
interface Imported {
  /** Bytes of the input. */
  readBytes: number;
  /** Records of the input, those that were there already included. */
  readCount: number;
  /** Records that the stream had already, from an import before. */
  readonly skippedCount: number;
}

const examples = `
The input is what \`message-vault export\` writes. Keys, values, headers, event times and the order stay as they are.
Offsets and timestamps are the vault's to give; of the timestamps that the records had, --original-time says:
  event-time  it becomes the event time of records that have none (the default)
  header      every record gets two more headers, messagevault-offset and messagevault-timestamp (RFC 3339)
  drop        it is left out

The input's first record gets the offset that --at says, the next ones follow, and nobody else may publish meanwhile. So
the stream itself tells how much of the input it has: run an import that was interrupted again, with the same arguments,
and it goes on; a finished one stores nothing. The stream's last record is compared with the input's first.

Examples:
  $ message-vault import orders orders.jsonl
  $ message-vault import orders more.pb --at 52928
  $ gunzip -c orders.jsonl.gz | message-vault import orders -
  $ kcat -C -e -t orders -J | jq -c '{key, value: .payload}' | message-vault import orders -
`;

/** The command that publishes what was exported. `finish` gets the exit code. */
export function createImportCommand(io: CliIo, finish: (code: number) => void): Command {
  const command = new Command("import")
    .summary("publish the records of a file")
    .description("Publishes the records that `export` wrote, each of them once however often it is run.")
    .argument("<stream>", "the stream to publish to; it is created where there is none")
    .argument("<file>", `the file to read; ${standardName} is standard input`)
    .addOption(
      new Option("--at <offset>", "the offset that the first record gets: where the stream ended before the import")
        .argParser(parseOffset)
        .default(0n, "0"),
    )
    .addOption(
      new Option("--original-time <place>", "where the timestamps go that the records had")
        .choices(["event-time", "header", "drop"])
        .default("event-time"),
    )
    .option("--json", "print the summary as JSON on standard output")
    .addHelpText("after", examples);
  addFormatOption(command);
  return addConnectionOptions(command).action(async (stream: string, file: string, options: ImportOptions) => {
    finish(await importFile(io, stream, file, options));
  });
}

async function importFile(io: CliIo, stream: string, file: string, options: ImportOptions): Promise<number> {
  const standard = file === standardName;
  const name = standard ? "standard input" : file;
  let totalBytes: number | undefined;
  try {
    if (!standard) totalBytes = (await stat(file)).size;
  } catch (error) {
    return reportFailure(io, describeFault(name, error));
  }
  return withClient(io, options, async (client) => {
    const info = await findStream(client, stream);
    const next = info?.nextOffset ?? 0n;
    if (next < options.at) {
      throw new VaultError("conflict", `the stream ${stream} ends at offset ${next}, before ${options.at} (--at)`);
    }
    const incarnation = info === undefined ? {} : { incarnation: info.incarnation };
    const publisher = client.publisher(stream, { expectedOffset: next, ...incarnation });
    const imported: Imported = { readBytes: 0, readCount: 0, skippedCount: Number(next - options.at) };
    const report = createReport(io, publisher, imported, totalBytes);
    const last = await findLast(client, info, options.at);
    let failure: unknown;
    try {
      const input = readInput(io, standard ? io.stdin : readFileChunks(file), name);
      const records = readRecords(input, findFormat(file, options.format), name, options.originalTime, imported);
      await publishRecords(records, publisher, imported, last, report.update);
      if (imported.readCount < imported.skippedCount && !io.interrupted.aborted) {
        fail(`the stream ${stream} has more records than ${name}, from offset ${options.at} (--at) on`);
      }
    } catch (error) {
      failure = explain(error, stream);
    }
    // What was read before something that makes no sense is published all the same.
    await publisher.close().catch((error: unknown) => (failure ??= explain(error, stream)));
    report.finish({ stream, file }, options.json === true, failure);
    if (failure !== undefined) return reportFailure(io, failure);
    return io.interrupted.aborted ? exitCodes.interrupted : exitCodes.done;
  });
}

async function findStream(client: VaultClient, stream: string): Promise<StreamInfo | undefined> {
  try {
    return await client.getStream(stream);
  } catch (error) {
    if (isKind(error, "notFound")) return undefined;
    throw error;
  }
}

/** The stream's last record, as an import stores it; undefined where the import has not begun or it is not kept any more. */
async function findLast(
  client: VaultClient,
  info: StreamInfo | undefined,
  at: bigint,
): Promise<Uint8Array | undefined> {
  if (info === undefined || info.nextOffset === at || info.nextOffset === info.firstOffset) return undefined;
  const stored = await readStoredRecord(client, info.name, info.nextOffset - 1n);
  return toImported(stored, "drop", `record ${info.nextOffset - 1n} of the stream`);
}

/** Yields the records to store, many at a time. */
async function* readRecords(
  input: AsyncIterable<Uint8Array | string>,
  format: FileFormat,
  name: string,
  originalTime: OriginalTime,
  imported: Imported,
): AsyncGenerator<Iterable<Uint8Array>> {
  let number = 0;
  const convert = (piece: Uint8Array) => {
    number++;
    if (format === "protobuf") return toImported(piece, originalTime, `record ${number} of ${name}`);
    return toImported(fromRecordLine(piece, `line ${number} of ${name}`), originalTime, "");
  };
  for await (const pieces of readPieces(countBytes(input, imported), format, name)) {
    // One by one: those before a piece that makes no sense are published.
    yield pieces.values().map(convert);
  }
}

async function* countBytes(input: AsyncIterable<Uint8Array | string>, imported: Imported) {
  for await (const chunk of input) {
    imported.readBytes += chunk.length;
    yield chunk;
  }
}

async function publishRecords(
  records: AsyncIterable<Iterable<Uint8Array>>,
  publisher: Publisher,
  imported: Imported,
  last: Uint8Array | undefined,
  update: () => void,
): Promise<void> {
  const { skippedCount } = imported;
  for await (const many of records) {
    for (const record of many) {
      imported.readCount++;
      if (imported.readCount > skippedCount) {
        const wait = publisher.addEncoded(record);
        if (wait !== undefined) await wait;
      } else if (imported.readCount === skippedCount && last !== undefined && Buffer.compare(record, last) !== 0) {
        fail(`the last record of the stream ${publisher.stream} is not record ${skippedCount} of the input`);
      }
    }
    update();
  }
}

function fail(message: string): never {
  throw new VaultError("conflict", `${message}: nothing was stored`);
}

function explain(error: unknown, stream: string): unknown {
  if (!isKind(error, "conflict") || error.detail.condition !== "expectedOffset") return error;
  const message = `somebody else publishes to the stream ${stream}: ${error.message}`;
  return new VaultError("conflict", `${message}. Is another import still under way? Then run this one again`);
}

// Counts while it goes on, and a summary at the end.
function createReport(io: CliIo, publisher: Publisher, imported: Imported, totalBytes: number | undefined) {
  const progress = createProgress(io);
  const startedAt = io.clock.monotonic();
  const getSeconds = () => Math.max(0.001, (io.clock.monotonic() - startedAt) / 1000);
  const describe = () => {
    const { recordCount, sizeBytes } = publisher.acknowledged;
    const rate = describeCount(Math.round(recordCount / getSeconds()));
    return `${describeSome(recordCount, "record")}, ${describeBytes(sizeBytes)}, ${rate} records/s`;
  };
  return {
    update() {
      progress.update(() => {
        const { readBytes } = imported;
        const share = totalBytes === undefined ? "" : `, ${Math.floor((100 * readBytes) / Math.max(1, totalBytes))} %`;
        return `${describe()}${share}`;
      });
    },
    finish(where: { readonly stream: string; readonly file: string }, json: boolean, failure: unknown) {
      progress.clear();
      const { recordCount, duplicateCount, streams } = publisher.acknowledged;
      const skippedCount = Math.min(imported.readCount, imported.skippedCount);
      const skipped = skippedCount === 0 ? "" : `; ${describeSome(skippedCount, "record")} were there already`;
      say(io, `imported to stream ${where.stream}: ${describe()}${skipped}`);
      if (!json) return;
      const complete = failure === undefined && !io.interrupted.aborted;
      const { firstOffset, nextOffset } = streams.get(where.stream) ?? {};
      const counts = { recordCount, skippedCount, duplicateCount, firstOffset, nextOffset, seconds: getSeconds() };
      const error = failure === undefined ? {} : { error: describeFailure(failure) };
      io.stdout.write(toJsonLine({ ...where, complete, ...toJsonFields(counts), ...error }));
    },
  };
}
