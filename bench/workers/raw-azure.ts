/** The limit of a storage account, or its emulator: Put Page one by one, and ranged reads, by the SDK alone. */
import http from "node:http";
import { ContainerClient } from "@azure/storage-blob";
import type { PageBlobClient } from "@azure/storage-blob";
import type { Sample } from "../statistics.ts";
import { serveCommands } from "../worker-commands.ts";

/** What to write or read. */
export interface RawAzureArgs {
  readonly connectionString: string;
  readonly container: string;
  readonly blob: string;
  readonly bytes: number;
  /** The bytes of one request. */
  readonly chunkBytes: number;
  /** How many reads are under way at a time; writes go one by one, as commits do. */
  readonly inFlight: number;
}

const agent = new http.Agent({ keepAlive: true });

serveCommands({ write, read, remove });

async function write(args: RawAzureArgs): Promise<Sample> {
  const client = await openBlob(args);
  const chunk = Buffer.allocUnsafeSlow(args.chunkBytes);
  for (let i = 0; i < chunk.length; i++) chunk[i] = (i * 31) & 0xff;
  await client.create(args.bytes);
  const startedAt = performance.now();
  let position = 0;
  for (; position < args.bytes; position += args.chunkBytes) {
    await client.uploadPages(chunk, position, args.chunkBytes);
  }
  return { bytes: position, seconds: (performance.now() - startedAt) / 1000 };
}

async function read(args: RawAzureArgs): Promise<Sample> {
  const client = await openBlob(args);
  let position = 0;
  let total = 0;
  async function readOn(): Promise<void> {
    while (position < args.bytes) {
      const at = position;
      position += args.chunkBytes;
      const answer = await client.download(at, args.chunkBytes);
      for await (const piece of answer.readableStreamBody ?? []) total += piece.length;
    }
  }
  const startedAt = performance.now();
  await Promise.all(Array.from({ length: args.inFlight }, readOn));
  return { bytes: total, seconds: (performance.now() - startedAt) / 1000 };
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
