/**
 * The transport's limit: a bare grpc-js server that passes buffers through. It swallows publish requests, answering
 * each with the same few bytes, and answers subscriptions with responses from memory. Subscriptions without an end get a
 * message whenever something is published to their stream.
 */
import { readFile } from "node:fs/promises";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import * as grpc from "@grpc/grpc-js";
import {
  PublishRequestSchema,
  PublishResponseSchema,
  SubscribeRequestSchema,
  SubscribeResponseSchema,
} from "../../gen/messagevault/v1/vault_pb.ts";
import { publishPath, publishStreamPath, subscribePath } from "../requests.ts";
import { serveCommands } from "../worker-commands.ts";
import { passThrough } from "./connection.ts";

/** What subscriptions are answered with. */
export interface LoadArgs {
  /** Responses, each behind its length in 4 bytes, little-endian; they are sent in turn. */
  readonly file: string;
}

/** How much a subscription is answered with. */
export interface LimitArgs {
  readonly bytesPerCall: number;
}

type PublishCall = grpc.ServerDuplexStream<Buffer, Buffer>;
type SubscribeCall = grpc.ServerWritableStream<Buffer, Buffer>;

const responses: Buffer[] = [];
const limit = { bytesPerCall: 0 };
const incarnation = "0123456789abcdef".repeat(2);
const published = Buffer.from(
  toBinary(
    PublishResponseSchema,
    create(PublishResponseSchema, {
      firstOffset: 1_000_000n,
      nextOffset: 1_001_000n,
      timestamp: { seconds: 1_800_000_000n, nanos: 123_000_000 },
      incarnation,
    }),
  ),
);

/** What a subscription gets for a published record, and when it has begun. */
const delivered = Buffer.from(
  toBinary(
    SubscribeResponseSchema,
    create(SubscribeResponseSchema, {
      records: [{ offset: 1_000_000n, timestamp: { seconds: 1_800_000_000n, nanos: 1 }, value: Buffer.alloc(250, 97) }],
      nextOffset: 1_000_001n,
      tailOffset: 1_000_001n,
      incarnation,
    }),
  ),
);

/** The calls that follow each stream. */
const followers = new Map<string, SubscribeCall[]>();

serveCommands({ listen, load, setLimit });

function listen(): Promise<string> {
  const server = new grpc.Server({ "grpc.max_receive_message_length": 8 * 1024 * 1024 });
  server.register(publishPath, swallowOne, passThrough, passThrough, "unary");
  server.register(publishStreamPath, swallow, passThrough, passThrough, "bidi");
  server.register(subscribePath, subscribe, passThrough, passThrough, "serverStream");
  return new Promise((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) => {
      if (error === null) resolve(`127.0.0.1:${port}`);
      else reject(error);
    });
  });
}

async function load({ file }: LoadArgs): Promise<void> {
  const bytes = await readFile(file);
  responses.length = 0;
  for (let at = 0; at < bytes.length;) {
    const end = at + 4 + bytes.readUInt32LE(at);
    responses.push(bytes.subarray(at + 4, end));
    at = end;
  }
}

function setLimit({ bytesPerCall }: LimitArgs): void {
  limit.bytesPerCall = bytesPerCall;
}

function swallowOne(call: grpc.ServerUnaryCall<Buffer, Buffer>, answer: grpc.sendUnaryData<Buffer>): void {
  if (followers.size > 0) {
    const { stream } = fromBinary(PublishRequestSchema, call.request);
    for (const follower of followers.get(stream) ?? []) follower.write(delivered);
  }
  answer(null, published);
}

function swallow(call: PublishCall): void {
  call.on("data", () => call.write(published));
  call.on("end", () => call.end());
  call.on("error", () => undefined);
}

function subscribe(call: SubscribeCall): void {
  call.on("error", () => undefined);
  const { stream, end } = fromBinary(SubscribeRequestSchema, call.request);
  if (end.case !== undefined) {
    blast(call);
    return;
  }
  const calls = followers.get(stream) ?? [];
  followers.set(stream, calls);
  calls.push(call);
  call.write(delivered);
}

function blast(call: SubscribeCall): void {
  let left = limit.bytesPerCall;
  let next = 0;
  function fill(): void {
    while (left > 0) {
      const response = responses[next++ % responses.length]!;
      left -= response.length;
      if (!call.write(response)) break;
    }
    if (left > 0) call.once("drain", fill);
    else call.end();
  }
  fill();
}
