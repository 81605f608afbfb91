/** The disk's limit: plain positional writes, each synced, and ranged reads. */
import fs from "node:fs";
import { serveCommands } from "../worker-commands.ts";

/** What to write. */
export interface RawFileArgs {
  readonly file: string;
  /** The bytes of one write or read. */
  readonly chunkBytes: number;
  /** How long to write. */
  readonly seconds: number;
}

/** What to read. */
export interface RawReadArgs {
  readonly file: string;
  readonly chunkBytes: number;
  /** How many reads are under way at a time. */
  readonly inFlight: number;
}

/** What was written or read. */
export interface RawResult {
  readonly bytes: number;
  readonly seconds: number;
  /** How long each write took. */
  readonly latenciesMs: Float64Array;
}

/** The size that a file is made with, as a segment is: its writes do not make it longer. */
const fileBytes = 256 * 1024 * 1024;

serveCommands({ fill, write, read });

/** Writes a file of `bytes` bytes, for `read`. */
function fill({ file, bytes, chunkBytes }: { file: string; bytes: number; chunkBytes: number }): void {
  const descriptor = openSparse(file, bytes);
  const chunk = makeChunk(chunkBytes);
  for (let position = 0; position < bytes; position += chunkBytes)
    fs.writeSync(descriptor, chunk, 0, chunkBytes, position);
  fs.fsyncSync(descriptor);
  fs.closeSync(descriptor);
}

/** Writes sparse files from start to end, one after the other, each write behind the last and synced. */
function write({ file, chunkBytes, seconds }: RawFileArgs): RawResult {
  const chunk = makeChunk(chunkBytes);
  const latenciesMs: number[] = [];
  let descriptor = openSparse(file, fileBytes);
  let position = 0;
  let bytes = 0;
  const startedAt = performance.now();
  let now = startedAt;
  while (now - startedAt < seconds * 1000) {
    if (position + chunkBytes > fileBytes) {
      fs.closeSync(descriptor);
      descriptor = openSparse(file, fileBytes);
      position = 0;
    }
    fs.writeSync(descriptor, chunk, 0, chunkBytes, position);
    fs.fdatasyncSync(descriptor);
    const endedAt = performance.now();
    latenciesMs.push(endedAt - now);
    now = endedAt;
    position += chunkBytes;
    bytes += chunkBytes;
  }
  fs.closeSync(descriptor);
  return { bytes, seconds: (now - startedAt) / 1000, latenciesMs: Float64Array.from(latenciesMs) };
}

async function read({ file, chunkBytes, inFlight }: RawReadArgs): Promise<RawResult> {
  const descriptor = fs.openSync(file, "r");
  const { size } = fs.fstatSync(descriptor);
  let position = 0;
  let bytes = 0;
  async function readOn(): Promise<void> {
    const buffer = Buffer.allocUnsafeSlow(chunkBytes);
    while (position < size) {
      const at = position;
      position += chunkBytes;
      bytes += await readAt(descriptor, buffer, at);
    }
  }
  const startedAt = performance.now();
  await Promise.all(Array.from({ length: inFlight }, readOn));
  const seconds = (performance.now() - startedAt) / 1000;
  fs.closeSync(descriptor);
  return { bytes, seconds, latenciesMs: new Float64Array() };
}

function openSparse(file: string, bytes: number): number {
  const descriptor = fs.openSync(file, "w+");
  fs.ftruncateSync(descriptor, bytes);
  fs.fsyncSync(descriptor);
  return descriptor;
}

function makeChunk(bytes: number): Buffer {
  const chunk = Buffer.allocUnsafeSlow(bytes);
  for (let i = 0; i < bytes; i++) chunk[i] = (i * 31) & 0xff;
  return chunk;
}

function readAt(descriptor: number, buffer: Buffer, position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.read(descriptor, buffer, 0, buffer.length, position, (error, count) => {
      if (error === null) resolve(count);
      else reject(error);
    });
  });
}
