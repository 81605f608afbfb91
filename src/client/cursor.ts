/**
 * Where a subscription stands, so that it can be resumed on another connection without a gap or a duplicate.
 *
 * Once a delivery has come, the start is an offset (`earliest`, `latest`, a timestamp and a count from the tail would by
 * then name another place), a count is what is left of it, and the end "at the tail" is the tail that the first
 * delivery told.
 */
import { create, toBinary } from "@bufbuild/protobuf";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { SubscribeRequestSchema } from "../../gen/messagevault/v1/vault_pb.ts";
import { VaultError } from "../errors.ts";
import type { End, Start } from "../stream/commands.ts";
import type { Before, Delivery } from "./delivery.ts";

/** What to read, and where from. */
export interface SubscribeOptions {
  /** Where to begin: at the tail where absent. */
  readonly start?: Start | undefined;
  /** Where to end, exclusive: never where absent. */
  readonly end?: End | undefined;
  /** Only records whose key begins with this; at most 1 KiB. */
  readonly keyPrefix?: Uint8Array | string | undefined;
  /** The incarnation that the stream must have. */
  readonly incarnation?: string | undefined;
  /** How long the vault may be silent, in milliseconds: 100 to 300,000; 10,000 by default. */
  readonly heartbeatMs?: number | undefined;
  /** How long to try to resume, in milliseconds; as the client says by default. */
  readonly retryForMs?: number | undefined;
  /** Ends the subscription, without an error. */
  readonly signal?: AbortSignal | undefined;
}

/** Where a subscription stands. */
export interface Cursor {
  /** The request that goes on behind the last delivery, encoded. */
  request(): Uint8Array;
  /** Takes note of a delivery. Throws `corrupt` if it does not follow the one before it. */
  advance(delivery: Delivery): void;
  /** Whether everything that was asked for has come. */
  isDone(): boolean;
  /** What the delivery that comes next takes over. */
  before(): Before;
}

type RequestInit = Exclude<MessageInitShape<typeof SubscribeRequestSchema>, { $typeName: string }>;

/** The time between heartbeats where none is asked for, in milliseconds. */
export const heartbeatMsDefault = 10_000;

/** Begins a subscription. */
export function createCursor(stream: string, options: SubscribeOptions): Cursor {
  const { keyPrefix = "", heartbeatMs = heartbeatMsDefault } = options;
  let start: Start = options.start ?? { at: "latest" };
  let end: End = options.end ?? { at: "never" };
  let before: Before = { incarnation: options.incarnation ?? "", lastTimestamp: undefined };

  return {
    request() {
      const request = create(SubscribeRequestSchema, {
        stream,
        incarnation: before.incarnation,
        keyPrefix: Buffer.from(keyPrefix),
        heartbeatInterval: durationFromMs(heartbeatMs),
        ...toRequestStart(start),
        ...toRequestEnd(end),
      });
      return toBinary(SubscribeRequestSchema, request);
    },
    advance(delivery) {
      if (start.at === "offset" && delivery.nextOffset < start.offset) {
        const message = `the vault went back from offset ${start.offset} to ${delivery.nextOffset} in stream ${stream}`;
        throw new VaultError("corrupt", message, { resource: stream });
      }
      start = { at: "offset", offset: delivery.nextOffset };
      before = { incarnation: delivery.incarnation, lastTimestamp: delivery.lastTimestamp };
      if (end.at === "count") end = { at: "count", count: end.count - BigInt(delivery.recordCount) };
      if (end.at === "tail") end = { at: "offset", offset: delivery.tailOffset };
    },
    isDone() {
      if (end.at === "count") return end.count <= 0n;
      return end.at === "offset" && start.at === "offset" && start.offset >= end.offset;
    },
    before: () => before,
  };
}

function toRequestStart(start: Start): RequestInit {
  switch (start.at) {
    case "earliest":
      return { start: { case: "earliest", value: {} } };
    case "latest":
      return { start: { case: "latest", value: {} } };
    case "offset":
      return { start: { case: "offset", value: start.offset } };
    case "timestamp":
      return { start: { case: "timestamp", value: timestampFromMs(start.timestamp) } };
    case "last":
      return { start: { case: "last", value: start.count } };
  }
}

function toRequestEnd(end: End): RequestInit {
  switch (end.at) {
    case "never":
      return {};
    case "offset":
      return { end: { case: "untilOffset", value: end.offset } };
    case "timestamp":
      return { end: { case: "untilTimestamp", value: timestampFromMs(end.timestamp) } };
    case "count":
      return { end: { case: "maxRecords", value: end.count } };
    case "tail":
      return { end: { case: "untilTail", value: {} } };
  }
}
