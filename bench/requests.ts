import { create, toBinary } from "@bufbuild/protobuf";
import { StreamService } from "../gen/messagevault/v1/stream_pb.ts";
import { PublishRequestSchema, SubscribeRequestSchema, VaultService } from "../gen/messagevault/v1/vault_pb.ts";
import type { SubscribeRequest } from "../gen/messagevault/v1/vault_pb.ts";

/** The paths of the methods that are measured; the limit servers answer the same ones. */
export const publishStreamPath = `/${VaultService.typeName}/PublishStream`;
export const publishPath = `/${VaultService.typeName}/Publish`;
export const listStreamsPath = `/${StreamService.typeName}/ListStreams`;
export const subscribePath = `/${VaultService.typeName}/Subscribe`;

/** How many copies of its request a load sends in turn: more than the processor's caches hold. */
const copies = 64;

/**
 * Encodes publish requests of `records` records with values of `recordBytes` random bytes, to be sent in turn.
 * `count`: how many will be sent.
 */
export function encodePublishRequests(stream: string, records: number, recordBytes: number, count = copies): Buffer[] {
  const random = createRandom();
  const values = Array.from({ length: records }, () => ({ value: fillRandom(Buffer.alloc(recordBytes), random) }));
  const request = toBinary(PublishRequestSchema, create(PublishRequestSchema, { stream, records: values }));
  return Array.from({ length: Math.min(count, copies) }, () => Buffer.from(request));
}

/** Encodes a subscription to `stream` from `fromOffset` to the tail as it stands then. */
export function encodeReplayRequest(stream: string, fromOffset: bigint): Buffer {
  return encodeSubscribe({ stream, start: { case: "offset", value: fromOffset }, end: untilTail });
}

/** Encodes a subscription to `stream` from its first record, to end before offset `untilOffset`. */
export function encodeUntilRequest(stream: string, untilOffset: bigint): Buffer {
  return encodeSubscribe({
    stream,
    start: { case: "offset", value: 0n },
    end: { case: "untilOffset", value: untilOffset },
  });
}

const untilTail: SubscribeRequest["end"] = {
  case: "untilTail",
  value: { $typeName: "messagevault.v1.Tail" },
};

function encodeSubscribe(request: {
  stream: string;
  start: SubscribeRequest["start"];
  end: SubscribeRequest["end"];
}): Buffer {
  return toBuffer(toBinary(SubscribeRequestSchema, create(SubscribeRequestSchema, request)));
}

function toBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function fillRandom(bytes: Buffer, random: () => number): Buffer {
  for (let i = 0; i < bytes.length; i++) bytes[i] = random();
  return bytes;
}

/** Bytes that look random and are the same in each run: xorshift32. */
function createRandom(): () => number {
  let state = 0x9e3779b9;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state & 0xff;
  };
}
