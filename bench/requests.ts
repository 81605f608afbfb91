import { create, toBinary } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { DeleteStreamRequestSchema, StreamService } from "../gen/messagevault/v1/stream_pb.ts";
import { PublishRequestSchema, SubscribeRequestSchema, VaultService } from "../gen/messagevault/v1/vault_pb.ts";
import type { SubscribeRequest } from "../gen/messagevault/v1/vault_pb.ts";
import { createRandom } from "./statistics.ts";

/** The paths of the methods that are measured; the limit servers answer the same ones. */
export const publishStreamPath = `/${VaultService.typeName}/PublishStream`;
export const publishPath = `/${VaultService.typeName}/Publish`;
export const listStreamsPath = `/${StreamService.typeName}/ListStreams`;
export const deleteStreamPath = `/${StreamService.typeName}/DeleteStream`;
export const subscribePath = `/${VaultService.typeName}/Subscribe`;

/** How many bytes of requests a load sends in turn, at most: more than the processor's caches hold. */
const copiedBytesMax = 16 * 1024 * 1024;
const copiesMax = 64;

/**
 * Encodes a publish request of `records` records with values of `recordBytes` random bytes. `traced`: each carries a
 * trace of its own, of which one in a hundred is sampled.
 */
export function encodePublishRequest(stream: string, records: number, recordBytes: number, traced = false): Buffer {
  const random = createRandom();
  const values = Array.from({ length: records }, (_, i) => ({
    value: fillRandom(Buffer.alloc(recordBytes), random),
    headers: traced ? [{ name: "traceparent", value: encodeTraceParent(i) }] : [],
  }));
  return toBuffer(toBinary(PublishRequestSchema, create(PublishRequestSchema, { stream, records: values })));
}

/** Encodes a request to delete a stream. */
export function encodeDeleteRequest(name: string): Buffer {
  return toBuffer(toBinary(DeleteStreamRequestSchema, create(DeleteStreamRequestSchema, { name })));
}

/** As many copies of a request as a load sends in turn. */
export function copyRequest(request: Buffer): Buffer[] {
  const count = Math.max(1, Math.min(copiesMax, Math.floor(copiedBytesMax / request.length)));
  return Array.from({ length: count }, () => Buffer.from(request));
}

/** Where a subscription starts and ends. */
export type SubscribeRange = Pick<SubscribeRequest, "start" | "end">;

/** Encodes a subscription to `stream`. */
export function encodeSubscribe(stream: string, range: SubscribeRange): Buffer {
  return toBuffer(toBinary(SubscribeRequestSchema, create(SubscribeRequestSchema, { stream, ...range })));
}

/** Encodes a subscription from `fromOffset` to the tail as it stands then. */
export function encodeReplayRequest(stream: string, fromOffset: bigint): Buffer {
  const end = { case: "untilTail", value: { $typeName: "messagevault.v1.Tail" } } as const;
  return encodeSubscribe(stream, { start: { case: "offset", value: fromOffset }, end });
}

/** Encodes a subscription from the first record, to end before offset `untilOffset`. */
export function encodeUntilRequest(stream: string, untilOffset: bigint): Buffer {
  const start = { case: "offset", value: 0n } as const;
  return encodeSubscribe(stream, { start, end: { case: "untilOffset", value: untilOffset } });
}

/** Encodes a subscription to what comes from now on, without an end. */
export function encodeFollowRequest(stream: string): Buffer {
  const start = { case: "latest", value: { $typeName: "messagevault.v1.Latest" } } as const;
  return encodeSubscribe(stream, { start, end: { case: undefined } });
}

/** Encodes a subscription to one record: the one at an offset, or the first one that is not older than a time. */
export function encodeSeekRequest(stream: string, to: { offset: bigint } | { timeMs: number }): Buffer {
  const start =
    "offset" in to
      ? ({ case: "offset", value: to.offset } as const)
      : ({ case: "timestamp", value: timestampFromMs(to.timeMs) } as const);
  return encodeSubscribe(stream, { start, end: { case: "maxRecords", value: 1n } });
}

function encodeTraceParent(i: number): Buffer {
  const traceId = (i + 1).toString(16).padStart(32, "0");
  return Buffer.from(`00-${traceId}-${"b".repeat(16)}-${i % 100 === 99 ? "01" : "00"}`);
}

function toBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function fillRandom(bytes: Buffer, random: () => number): Buffer {
  for (let i = 0; i < bytes.length; i++) bytes[i] = random() * 256;
  return bytes;
}
