/** Reads subscriptions, and decodes what comes only where it is asked to. */
import { createWriteStream } from "node:fs";
import { finished } from "node:stream/promises";
import { fromBinary } from "@bufbuild/protobuf";
import type * as grpc from "@grpc/grpc-js";
import { SubscribeResponseSchema } from "../../gen/messagevault/v1/vault_pb.ts";
import { subscribePath } from "../requests.ts";
import { serveCommands } from "../worker-commands.ts";
import { callUnary, connect, passThrough } from "./connection.ts";

/** What to read. */
export interface ReplayArgs {
  readonly endpoint: string;
  /** An encoded SubscribeRequest. */
  readonly request: Uint8Array;
  /** How often to send it, one call after the other. */
  readonly calls: number;
  /** How many do so at once, each over a connection of its own; 1 where absent. */
  readonly consumers?: number;
  /** Whether to decode the responses into objects. */
  readonly decode?: boolean;
}

/** What came. */
export interface ReplayResult {
  readonly bytes: number;
  readonly responses: number;
  /** Counted only where they were decoded. */
  readonly records: number;
  readonly seconds: number;
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

serveCommands({ ready: () => undefined, replay, record, unary });

async function replay({ endpoint, request, calls, consumers = 1, decode = false }: ReplayArgs): Promise<ReplayResult> {
  const clients = await Promise.all(Array.from({ length: consumers }, () => connect(endpoint)));
  const count = { bytes: 0, responses: 0, records: 0 };
  function take(response: Buffer): void {
    count.bytes += response.length;
    count.responses++;
    if (decode) count.records += fromBinary(SubscribeResponseSchema, response).records.length;
  }
  const startedAt = performance.now();
  await Promise.all(
    clients.map(async (client) => {
      for (let i = 0; i < calls; i++) await subscribe(client, request, take);
    }),
  );
  const seconds = (performance.now() - startedAt) / 1000;
  for (const client of clients) client.close();
  return { ...count, seconds };
}

async function record({ endpoint, request, file, bytesMax }: RecordArgs): Promise<{ bytes: number }> {
  const client = await connect(endpoint);
  const kept: Buffer[] = [];
  let bytes = 0;
  await subscribe(client, request, (response) => {
    bytes += response.length;
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
  return { bytes };
}

async function unary({ endpoint, path, request }: UnaryArgs): Promise<Buffer> {
  const client = await connect(endpoint);
  try {
    return await callUnary(client, path, Buffer.from(request));
  } finally {
    client.close();
  }
}

function subscribe(client: grpc.Client, request: Uint8Array, take: (response: Buffer) => void): Promise<void> {
  const call = client.makeServerStreamRequest(subscribePath, passThrough, passThrough, Buffer.from(request));
  return new Promise((resolve, reject) => {
    call.on("data", take);
    call.on("error", reject);
    call.on("end", resolve);
  });
}
