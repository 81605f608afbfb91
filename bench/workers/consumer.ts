/** Reads subscriptions, and decodes what comes only where it is asked to. */
import { createWriteStream } from "node:fs";
import { finished } from "node:stream/promises";
import { fromBinary } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import type * as grpc from "@grpc/grpc-js";
import { SubscribeResponseSchema } from "../../gen/messagevault/v1/vault_pb.ts";
import { encodeReplayRequest, subscribePath } from "../requests.ts";
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
  /** After so many bytes each the time is noted. */
  readonly markBytes?: number;
}

/** What came. */
export interface ReplayResult {
  readonly bytes: number;
  readonly responses: number;
  /** Counted only where they were decoded. */
  readonly records: number;
  readonly seconds: number;
  /** When each mark was reached, in seconds from the start. */
  readonly marksSeconds: readonly number[];
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

/** Which streams to read from start to tail. */
export interface ReadStreamsArgs {
  readonly endpoint: string;
  readonly prefix: string;
  readonly streams: number;
  readonly inFlight: number;
}

/** What a seek found. */
export interface SeekResult {
  readonly offset: bigint;
  /** The record's timestamp, in milliseconds since 1970. */
  readonly timestampMs: number;
  readonly latencyMs: number;
}

serveCommands({ ready: () => undefined, replay, record, unary, seek, readStreams });

async function replay(args: ReplayArgs): Promise<ReplayResult> {
  const { endpoint, request, calls, consumers = 1, decode = false, markBytes = Infinity } = args;
  const clients = await Promise.all(Array.from({ length: consumers }, () => connect(endpoint)));
  const count = { bytes: 0, responses: 0, records: 0 };
  const marksSeconds: number[] = [];
  function take(response: Buffer): void {
    count.bytes += response.length;
    count.responses++;
    if (count.bytes >= (marksSeconds.length + 1) * markBytes) marksSeconds.push((performance.now() - startedAt) / 1000);
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
  return { ...count, seconds, marksSeconds };
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

/** Reads the one record that a subscription asks for. */
async function seek({ endpoint, request }: ReplayArgs): Promise<SeekResult> {
  const client = await connect(endpoint);
  const responses: Buffer[] = [];
  const startedAt = performance.now();
  await subscribe(client, request, (response) => responses.push(response));
  const latencyMs = performance.now() - startedAt;
  client.close();
  const [record] = responses.flatMap((response) => fromBinary(SubscribeResponseSchema, response).records);
  if (record?.timestamp === undefined) throw new Error("the seek found no record");
  return { offset: record.offset, timestampMs: timestampMs(record.timestamp), latencyMs };
}

async function readStreams(args: ReadStreamsArgs): Promise<{ bytes: number; seconds: number }> {
  const { endpoint, prefix, streams, inFlight } = args;
  const client = await connect(endpoint);
  let next = 0;
  let bytes = 0;
  async function readOn(): Promise<void> {
    while (next < streams) {
      await subscribe(client, encodeReplayRequest(`${prefix}${next++}`, 0n), (response) => {
        bytes += response.length;
      });
    }
  }
  const startedAt = performance.now();
  await Promise.all(Array.from({ length: inFlight }, readOn));
  const seconds = (performance.now() - startedAt) / 1000;
  client.close();
  return { bytes, seconds };
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
