/** Reads subscriptions without decoding what comes. */
import { createWriteStream } from "node:fs";
import { finished } from "node:stream/promises";
import * as grpc from "@grpc/grpc-js";
import { subscribePath } from "../requests.ts";
import type { Sample } from "../statistics.ts";
import { serveCommands } from "../worker-commands.ts";

/** What to read. */
export interface ReplayArgs {
  readonly endpoint: string;
  /** An encoded SubscribeRequest. */
  readonly request: Uint8Array;
  /** How often to send it, one call after the other. */
  readonly calls: number;
}

/** What came. */
export interface ReplayResult extends Sample {
  readonly responses: number;
}

/** What to read, and where to keep the responses. */
export interface RecordArgs extends ReplayArgs {
  /** A file that gets the responses, each behind its length in 4 bytes, little-endian. */
  readonly file: string;
  /** At most so many bytes of them; the rest is only read. */
  readonly bytesMax: number;
}

/** A call with one request and one response. */
export interface UnaryArgs {
  readonly endpoint: string;
  readonly path: string;
  readonly request: Uint8Array;
}

const connectTimeoutMs = 10_000;
const windowBytes = 8 * 1024 * 1024;
const passThrough = (bytes: Buffer) => bytes;

serveCommands({ ready: () => undefined, replay, record, unary });

async function replay({ endpoint, request, calls }: ReplayArgs): Promise<ReplayResult> {
  const client = await connect(endpoint);
  let bytes = 0;
  let responses = 0;
  const startedAt = performance.now();
  for (let i = 0; i < calls; i++) {
    await subscribe(client, request, (response) => {
      bytes += response.length;
      responses++;
    });
  }
  const seconds = (performance.now() - startedAt) / 1000;
  client.close();
  return { bytes, responses, seconds };
}

async function record({ endpoint, request, file, bytesMax }: RecordArgs): Promise<ReplayResult> {
  const client = await connect(endpoint);
  const kept: Buffer[] = [];
  let bytes = 0;
  let responses = 0;
  await subscribe(client, request, (response) => {
    bytes += response.length;
    responses++;
    if (bytes <= bytesMax) kept.push(Buffer.from(response));
  });
  client.close();
  const output = createWriteStream(file);
  for (const response of kept) {
    const length = Buffer.alloc(4);
    length.writeUInt32LE(response.length);
    output.write(length);
    output.write(response);
  }
  output.end();
  await finished(output);
  return { bytes, responses, seconds: 0 };
}

async function unary({ endpoint, path, request }: UnaryArgs): Promise<Buffer> {
  const client = await connect(endpoint);
  try {
    return await new Promise((resolve, reject) => {
      client.makeUnaryRequest(path, passThrough, passThrough, Buffer.from(request), (error, response) => {
        if (error === null && response !== undefined) resolve(response);
        else reject(error ?? new Error("no response"));
      });
    });
  } finally {
    client.close();
  }
}

function connect(endpoint: string): Promise<grpc.Client> {
  const client = new grpc.Client(endpoint, grpc.credentials.createInsecure(), {
    "grpc.use_local_subchannel_pool": 1,
    "grpc-node.flow_control_window": windowBytes,
  });
  return new Promise((resolve, reject) => {
    client.waitForReady(Date.now() + connectTimeoutMs, (error) => (error ? reject(error) : resolve(client)));
  });
}

function subscribe(client: grpc.Client, request: Uint8Array, take: (response: Buffer) => void): Promise<void> {
  const call = client.makeServerStreamRequest(subscribePath, passThrough, passThrough, Buffer.from(request));
  return new Promise((resolve, reject) => {
    call.on("data", take);
    call.on("error", reject);
    call.on("end", resolve);
  });
}
