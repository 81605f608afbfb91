/** The disk's limit: plain positional writes, each synced, and ranged reads. */
import fs from "node:fs";
import { serveCommands } from "../worker-commands.ts";
import type { Sample } from "../statistics.ts";

/** What to write or read. */
export interface RawFileArgs {
  readonly file: string;
  readonly bytes: number;
  /** The bytes of one write or read. */
  readonly chunkBytes: number;
  /** How many reads are under way at a time; writes go one by one, as commits do. */
  readonly inFlight: number;
}

serveCommands({ write, read });

/** Writes a new sparse file from its start to its end. */
function write({ file, bytes, chunkBytes }: RawFileArgs): Sample {
  const chunk = Buffer.allocUnsafeSlow(chunkBytes);
  for (let i = 0; i < chunk.length; i++) chunk[i] = (i * 31) & 0xff;
  const descriptor = fs.openSync(file, "w+");
  fs.ftruncateSync(descriptor, bytes);
  fs.fsyncSync(descriptor);
  const startedAt = performance.now();
  let position = 0;
  for (; position < bytes; position += chunkBytes) {
    fs.writeSync(descriptor, chunk, 0, chunkBytes, position);
    fs.fdatasyncSync(descriptor);
  }
  const seconds = (performance.now() - startedAt) / 1000;
  fs.closeSync(descriptor);
  return { bytes: position, seconds };
}

async function read({ file, bytes, chunkBytes, inFlight }: RawFileArgs): Promise<Sample> {
  const descriptor = fs.openSync(file, "r");
  let position = 0;
  let total = 0;
  async function readOn(): Promise<void> {
    const buffer = Buffer.allocUnsafeSlow(chunkBytes);
    while (position < bytes) {
      const at = position;
      position += chunkBytes;
      total += await readAt(descriptor, buffer, at);
    }
  }
  const startedAt = performance.now();
  await Promise.all(Array.from({ length: inFlight }, readOn));
  const seconds = (performance.now() - startedAt) / 1000;
  fs.closeSync(descriptor);
  return { bytes: total, seconds };
}

function readAt(descriptor: number, buffer: Buffer, position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.read(descriptor, buffer, 0, buffer.length, position, (error, count) => {
      if (error === null) resolve(count);
      else reject(error);
    });
  });
}
