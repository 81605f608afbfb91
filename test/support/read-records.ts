import { fromBinary } from "@bufbuild/protobuf";
import type { Record } from "../../gen/messagevault/v1/record_pb.ts";
import { SubscribeResponseSchema } from "../../gen/messagevault/v1/vault_pb.ts";
import type { SubscribeResponse } from "../../gen/messagevault/v1/vault_pb.ts";
import type { WireBytes } from "../../src/rpc/handlers.ts";
import { encodeSubscribeResponse } from "../../src/rpc/subscribe-response.ts";
import type { SubscribeCommand, VaultApi } from "../../src/stream/commands.ts";

/** What a subscription says that does not read all there is. */
export type ReadOptions = Partial<Omit<SubscribeCommand, "stream">>;

/** Reads a stream, from the earliest record to the tail unless `options` say otherwise, as a client decodes it. */
export async function readResponses(
  vault: VaultApi,
  stream: string,
  options: ReadOptions = {},
): Promise<SubscribeResponse[]> {
  const responses: SubscribeResponse[] = [];
  for await (const response of follow(vault, stream, { end: { at: "tail" }, ...options })) responses.push(response);
  return responses;
}

/** Reads a stream's records, from the earliest to the tail unless `options` say otherwise. */
export async function readRecords(vault: VaultApi, stream: string, options: ReadOptions = {}): Promise<Record[]> {
  return (await readResponses(vault, stream, options)).flatMap((response) => response.records);
}

/** Reads a stream's values as text, from the earliest to the tail unless `options` say otherwise. */
export async function readValues(vault: VaultApi, stream: string, options: ReadOptions = {}): Promise<string[]> {
  return (await readRecords(vault, stream, options)).map((record) => Buffer.from(record.value).toString());
}

/** Follows a stream from the earliest record on, as a client decodes it. */
export async function* follow(
  vault: VaultApi,
  stream: string,
  options: ReadOptions = {},
  signal = new AbortController().signal,
): AsyncGenerator<SubscribeResponse> {
  const command: SubscribeCommand = {
    stream,
    incarnation: undefined,
    start: { at: "earliest" },
    end: { at: "never" },
    keyPrefix: new Uint8Array(),
    heartbeatMs: 10_000,
    ...options,
  };
  for await (const delivery of vault.subscribe(command, signal)) {
    yield fromBinary(SubscribeResponseSchema, toBytes(encodeSubscribeResponse(delivery)));
  }
}

function toBytes(response: WireBytes): Buffer {
  const bytes = Buffer.alloc(response.byteLength);
  response.copy(bytes, 0);
  return bytes;
}
