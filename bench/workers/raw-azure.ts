/** The limit of a storage account, or its emulator: Put Page one by one, and ranged reads, by the SDK alone. */
import http from "node:http";
import { ContainerClient } from "@azure/storage-blob";
import type { PageBlobClient } from "@azure/storage-blob";
import { serveCommands } from "../worker-commands.ts";

/** A blob. */
export interface RawAzureArgs {
  readonly connectionString: string;
  readonly container: string;
  readonly blob: string;
}

/** What to write: one request after the other, as commits go. */
export interface RawAzureWriteArgs extends RawAzureArgs {
  /** The bytes of one request. */
  readonly chunkBytes: number;
  /** How long to write. */
  readonly seconds: number;
}

/** What to read: the blob as far as it was written. */
export interface RawAzureReadArgs extends RawAzureArgs {
  /** The bytes of one request. */
  readonly chunkBytes: number;
  /** How many are under way at a time. */
  readonly inFlight: number;
}

interface RawAzureResult {
  readonly bytes: number;
  readonly seconds: number;
}

/** The size that a blob is made with, as a segment is: pages that were not written cost nothing. */
const blobBytes = 1024 ** 3;

/** How far each blob was written. */
const written = new Map<string, number>();
const agent = new http.Agent({ keepAlive: true });

serveCommands({ write, read, remove });

async function write(args: RawAzureWriteArgs): Promise<RawAzureResult> {
  const client = await openBlob(args);
  const chunk = Buffer.allocUnsafeSlow(args.chunkBytes);
  for (let i = 0; i < chunk.length; i++) chunk[i] = (i * 31) & 0xff;
  await client.create(blobBytes);
  const startedAt = performance.now();
  const endsAt = startedAt + args.seconds * 1000;
  let bytes = 0;
  for (; performance.now() < endsAt && bytes < blobBytes; bytes += args.chunkBytes) {
    await client.uploadPages(chunk, bytes, args.chunkBytes);
  }
  const seconds = (performance.now() - startedAt) / 1000;
  written.set(args.blob, bytes);
  return { bytes, seconds };
}

async function read(args: RawAzureReadArgs): Promise<RawAzureResult> {
  const client = await openBlob(args);
  const end = written.get(args.blob) ?? 0;
  let position = 0;
  let bytes = 0;
  async function readOn(): Promise<void> {
    while (position < end) {
      const at = position;
      position += args.chunkBytes;
      const answer = await client.download(at, args.chunkBytes);
      for await (const piece of answer.readableStreamBody ?? []) bytes += piece.length;
    }
  }
  const startedAt = performance.now();
  await Promise.all(Array.from({ length: args.inFlight }, readOn));
  return { bytes, seconds: (performance.now() - startedAt) / 1000 };
}

async function remove(args: RawAzureArgs): Promise<void> {
  const client = await openBlob(args);
  await client.deleteIfExists();
}

async function openBlob({ connectionString, container, blob }: RawAzureArgs): Promise<PageBlobClient> {
  const options = { agent, retryOptions: { maxTries: 1 } };
  const client = new ContainerClient(connectionString, container, options);
  await client.createIfNotExists();
  return client.getPageBlobClient(blob);
}
