/**
 * What stands in `test/golden/VERSION/`, and how it is read and written:
 *
 * - `files/`: the directory of a file store that a vault of that version has left, with page blobs' files cut behind
 *   their last page that is not zero;
 * - `expected.json`: what was stored, as the publishers saw it.
 *
 * A version's data are made once, before it is released, and never again: they stand for the vaults that are out there.
 */
import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import type { ExecutionContext } from "ava";
import type { BlobReader } from "../../src/blob/blob-store.ts";
import { openFileStore } from "../../src/blob/file.ts";
import { systemClock } from "../../src/clock.ts";
import type { StreamSettings } from "../../src/stream/commands.ts";
import { copyStore, cutZeroPages } from "../support/copy-store.ts";
import { createDirectory } from "../support/create-directory.ts";
import type { RecordInit } from "../support/publish-records.ts";

/** Bytes, in a form that people can read: text in UTF-8, so many times over, or hexadecimal digits. */
export type GoldenBytes = { readonly text: string; readonly times?: number } | { readonly hex: string };

/** A record as it was published. */
export interface GoldenRecord {
  readonly key?: GoldenBytes;
  readonly value?: GoldenBytes;
  readonly headers?: readonly { readonly name: string; readonly value: GoldenBytes }[];
  readonly eventTime?: { readonly seconds: string; readonly nanos: number };
}

/** What a publisher sent in one request. */
export interface GoldenRequest {
  readonly producer?: { readonly id: string; readonly sequence: string };
  readonly records: readonly GoldenRecord[];
}

/** A request that was stored. */
export interface StoredRequest extends GoldenRequest {
  readonly firstOffset: string;
  /** Milliseconds since 1970. */
  readonly timestamp: number;
}

/** A stream's state. Whatever its state on storage, this is what a vault that opens it must show. */
export interface GoldenStream {
  /** What is special about it. */
  readonly about: string;
  /** Whether there is such a stream. */
  readonly exists: boolean;
  readonly incarnation: string;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
  /** The settings that are its own. */
  readonly settings: Partial<StreamSettings>;
  readonly startOffset: string;
  readonly nextOffset: string;
  /** In the order of their offsets; those that were trimmed too. */
  readonly stored: readonly StoredRequest[];
  /** What was sent, never acknowledged, and is not there. */
  readonly lost: readonly GoldenRequest[];
}

/** `expected.json`. */
export interface GoldenData {
  /** The epoch of the last leader. */
  readonly epoch: number;
  /** When the data were finished, by the vault's clock, in milliseconds since 1970. */
  readonly madeAt: number;
  readonly streams: Readonly<Record<string, GoldenStream>>;
  /** How long the files were that are cut, by their path. */
  readonly fileBytes: Readonly<Record<string, number>>;
}

/** Where the data of a version stand, such as `v1`. */
export function goldenDirectory(version: string): string {
  return path.join(import.meta.dirname, version);
}

/** Reads `expected.json`. */
export async function readGolden(directory: string): Promise<GoldenData> {
  return JSON.parse(await fs.readFile(path.join(directory, "expected.json"), "utf8")) as GoldenData;
}

/** Makes the file store's directory anew, as the vault had left it, for as long as `t`. */
export async function restoreFiles(t: ExecutionContext, directory: string): Promise<string> {
  const target = path.join(await createDirectory(t), "data");
  await fs.cp(path.join(directory, "files"), target, { recursive: true });
  const { fileBytes } = await readGolden(directory);
  for (const [name, sizeBytes] of Object.entries(fileBytes)) await fs.truncate(path.join(target, name), sizeBytes);
  return target;
}

/** Writes a version's data into `directory`, which must not exist. */
export async function writeGolden(
  store: BlobReader,
  made: Omit<GoldenData, "fileBytes">,
  directory: string,
): Promise<void> {
  const temporary = await fs.mkdtemp(path.join(os.tmpdir(), "message-vault-golden-"));
  try {
    const files = await openFileStore(temporary, systemClock);
    await copyStore(store, files);
    await files.close();
    await fs.mkdir(directory);
    const fileBytes = await cutFiles(temporary, path.join(directory, "files"));
    const text = JSON.stringify({ ...made, fileBytes }, undefined, 2);
    await fs.writeFile(path.join(directory, "expected.json"), `${text}\n`);
  } finally {
    await fs.rm(temporary, { recursive: true });
  }
}

async function cutFiles(from: string, to: string): Promise<Record<string, number>> {
  const fileBytes: Record<string, number> = {};
  const entries = await fs.readdir(from, { recursive: true, withFileTypes: true });
  const names = entries
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(from, path.join(entry.parentPath, entry.name)))
    // The store's own lock, which each process makes for itself.
    .filter((name) => !name.startsWith("~"));
  for (const name of names.toSorted()) {
    const bytes = await fs.readFile(path.join(from, name));
    const isPageBlob = bytes.toString("latin1", 0, 8) === "mvpages\n";
    const kept = isPageBlob ? cutZeroPages(bytes) : bytes;
    if (kept.length < bytes.length) fileBytes[name.split(path.sep).join("/")] = bytes.length;
    await fs.mkdir(path.dirname(path.join(to, name)), { recursive: true });
    await fs.writeFile(path.join(to, name), kept);
  }
  return fileBytes;
}

/** The record as protobuf-es takes it. */
export function toInit({ key, value, headers, eventTime }: GoldenRecord): RecordInit {
  return {
    ...(key === undefined ? {} : { key: toBytes(key) }),
    ...(value === undefined ? {} : { value: toBytes(value) }),
    ...(headers === undefined ? {} : { headers: headers.map((h) => ({ name: h.name, value: toBytes(h.value) })) }),
    ...(eventTime === undefined ? {} : { eventTime: { seconds: BigInt(eventTime.seconds), nanos: eventTime.nanos } }),
  };
}

/** The records of a request, and what it says beside them, as `publish` takes it. */
export function toPublish(request: GoldenRequest) {
  const { producer, records } = request;
  const options = producer === undefined ? {} : { producer: { id: producer.id, sequence: BigInt(producer.sequence) } };
  return { records: records.map(toInit), options };
}

function toBytes(bytes: GoldenBytes): Buffer {
  return "hex" in bytes ? Buffer.from(bytes.hex, "hex") : Buffer.from(bytes.text.repeat(bytes.times ?? 1));
}
