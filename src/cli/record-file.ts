/** Files of records: what `export` writes and `import` reads. */
import { open, truncate } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { createReadStream } from "node:fs";
import { Option } from "commander";
import type { Command } from "commander";
import { VaultError } from "../errors.ts";
import { openOutput } from "./io.ts";
import type { CliIo } from "./io.ts";
import { readDelimited, readLines } from "./publish-input.ts";

/** A JSON object a line, or Record messages, each behind its length as a varint. */
export type FileFormat = "json" | "protobuf";

/** Where records are written to. */
export interface RecordWriter {
  /** What it ends with: the last whole line or message of a file that is gone on with. */
  readonly last: Uint8Array | undefined;
  /** Writes; resolves when more may come. */
  write(data: string | Uint8Array): Promise<void>;
  /** Aborted when nobody reads any more. */
  readonly closed: AbortSignal;
  /** Has everything on the disk, then closes. */
  close(): Promise<void>;
}

/** Stands for standard input or output. */
export const standardName = "-";

/**
 * The longest line of JSON that is read. The largest record has 3.5 MiB, and no byte of it takes more than six
 * characters.
 */
export const jsonLineBytesMax = 32 * 1024 * 1024;

const chunkBytes = 1024 * 1024;

/** Adds the option that says what a file's format is. */
export function addFormatOption(command: Command): Command {
  return command.addOption(
    new Option(
      "-f, --format <format>",
      "json or protobuf (default: protobuf where the file is *.pb or *.binpb)",
    ).choices(["json", "protobuf"]),
  );
}

/** The format that is asked for, or else what the file's name says. */
export function findFormat(file: string, format: FileFormat | undefined): FileFormat {
  return format ?? (/\.(pb|binpb)$/.test(file) ? "protobuf" : "json");
}

/** Yields the lines or messages of `input`, many at a time. Throws `invalid`; `name` is the input's, for the message. */
export function readPieces(
  input: AsyncIterable<Uint8Array | string>,
  format: FileFormat,
  name: string,
): AsyncGenerator<Uint8Array[]> {
  return format === "json" ? readLines(input, { name, bytesMax: jsonLineBytesMax }) : readDelimited(input, { name });
}

/** Reads a file in large chunks. */
export function readFileChunks(path: string): ReturnType<typeof createReadStream> {
  return createReadStream(path, { highWaterMark: chunkBytes });
}

/**
 * Opens what records are written to. A file that is there already is refused, or with `resume` gone on with: a last
 * piece that is cut short is cut off. Throws `invalid` for a file that it cannot go on with.
 */
export async function openWriter(io: CliIo, path: string, format: FileFormat, resume: boolean): Promise<RecordWriter> {
  if (path === standardName) return toStandardOutput(io);
  try {
    return toFile(await open(path, "ax"), undefined);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw describeFault(path, error);
  }
  if (!resume) {
    throw new VaultError("invalid", `${path} is there already: give --resume to go on where it ends`);
  }
  const { endBytes, last } = await findEnd(path, format);
  await truncate(path, endBytes);
  return toFile(await open(path, "a"), last);
}

/** What went wrong with a file, as a VaultError. */
export function describeFault(path: string, error: unknown): VaultError {
  if (error instanceof VaultError) return error;
  return new VaultError("invalid", `${path}: ${error instanceof Error ? error.message : String(error)}`, {}, error);
}

async function findEnd(path: string, format: FileFormat): Promise<{ endBytes: number; last: Uint8Array | undefined }> {
  const options = { name: path, bytesMax: jsonLineBytesMax, dropTorn: true };
  const read = format === "json" ? readLines : readDelimited;
  const end: { endBytes: number; last: Uint8Array | undefined } = { endBytes: 0, last: undefined };
  const input = readFileChunks(path);
  const counted = (usedBytes: number) => (end.endBytes += usedBytes);
  for await (const pieces of read(input, { ...options, counted })) {
    // A view would keep the whole chunk.
    end.last = Buffer.from(pieces.at(-1)!);
  }
  return end;
}

function toFile(handle: FileHandle, last: Uint8Array | undefined): RecordWriter {
  return {
    last,
    closed: new AbortController().signal,
    write: (data) => handle.appendFile(data),
    async close() {
      try {
        await handle.datasync();
      } finally {
        await handle.close();
      }
    },
  };
}

function toStandardOutput(io: CliIo): RecordWriter {
  const output = openOutput(io);
  return {
    last: undefined,
    closed: output.closed,
    write: async (data) => output.write(data),
    close: () => Promise.resolve(),
  };
}
