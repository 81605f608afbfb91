import type { SubscribeRequest } from "../../gen/messagevault/v1/vault_pb.ts";
import { SubscribeRequestSchema } from "../../gen/messagevault/v1/vault_pb.ts";
import type { End, Start, SubscribeCommand } from "../stream/commands.ts";
import { validateStreamName } from "../stream/names.ts";
import { decodeRequest } from "./handlers.ts";
import { invalidField, readDuration, readTimestamp } from "./values.ts";

/** The most bytes of a key prefix: as many as a key may have. */
export const keyPrefixBytesMax = 1024;

/** The shortest heartbeat interval, in milliseconds. */
export const heartbeatMsMin = 100;

/** The longest heartbeat interval, in milliseconds. */
export const heartbeatMsMax = 5 * 60_000;

/** The heartbeat interval where neither the request nor the vault's settings say, in milliseconds. */
export const heartbeatMsDefault = 10_000;

/** Reads a SubscribeRequest; `heartbeatMs` is for one that does not say. Throws `invalid`, naming the field. */
export function parseSubscribeRequest(bytes: Uint8Array, heartbeatMs = heartbeatMsDefault): SubscribeCommand {
  const request = decodeRequest(SubscribeRequestSchema, bytes);
  validateStreamName(request.stream, "stream");
  return {
    stream: request.stream,
    incarnation: request.incarnation === "" ? undefined : request.incarnation,
    start: readStart(request),
    end: readEnd(request),
    keyPrefix: readKeyPrefix(request),
    heartbeatMs: readHeartbeat(request) ?? heartbeatMs,
  };
}

function readStart({ start }: SubscribeRequest): Start {
  switch (start.case) {
    case "earliest":
      return { at: "earliest" };
    case "latest":
    case undefined:
      return { at: "latest" };
    case "offset":
      return { at: "offset", offset: start.value };
    case "timestamp":
      return { at: "timestamp", timestamp: readTimestamp(start.value, "timestamp") };
    case "last":
      return { at: "last", count: start.value };
  }
}

function readEnd({ end }: SubscribeRequest): End {
  switch (end.case) {
    case undefined:
      return { at: "never" };
    case "untilOffset":
      return { at: "offset", offset: end.value };
    case "untilTimestamp":
      return { at: "timestamp", timestamp: readTimestamp(end.value, "until_timestamp") };
    case "maxRecords":
      if (end.value === 0n) throw invalidField("max_records", "it must be at least 1");
      return { at: "count", count: end.value };
    case "untilTail":
      return { at: "tail" };
  }
}

function readKeyPrefix({ keyPrefix }: SubscribeRequest): Uint8Array {
  if (keyPrefix.length > keyPrefixBytesMax) {
    throw invalidField("key_prefix", `it is ${keyPrefix.length} bytes, it may have at most ${keyPrefixBytesMax}`);
  }
  // A subscription can live long: a copy does not hold on to the request's buffer.
  return keyPrefix.slice();
}

function readHeartbeat({ heartbeatInterval }: SubscribeRequest): number | undefined {
  if (heartbeatInterval === undefined) return undefined;
  const heartbeatMs = readDuration(heartbeatInterval, "heartbeat_interval");
  if (heartbeatMs < heartbeatMsMin || heartbeatMs > heartbeatMsMax) {
    const rule = `from ${heartbeatMsMin} ms to ${heartbeatMsMax / 1000} s`;
    throw invalidField("heartbeat_interval", `${rule}; this one is ${heartbeatMs} ms`);
  }
  return heartbeatMs;
}
