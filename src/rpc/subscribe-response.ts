import type { Delivery } from "../stream/commands.ts";
import type { WireBytes } from "./handlers.ts";
import { varintBytes, writeVarint } from "../segment/wire.ts";

/**
 * Encodes a SubscribeResponse. The records go out as they are stored: their payloads are the encoding of the response's
 * `records` field already, so nothing is done per record, and they are copied only into the transport's message: once,
 * as their memory is given back with that.
 */
export function encodeSubscribeResponse(delivery: Delivery): WireBytes {
  const pieces = [...delivery.payload, encodeTrailer(delivery)];
  return {
    byteLength: pieces.reduce((sum, piece) => sum + piece.length, 0),
    copy(target, at) {
      let end = at;
      for (const piece of pieces) {
        target.set(piece, end);
        end += piece.length;
      }
      delivery.giveBack?.();
    },
  };
}

/** The fields behind the records: numbers 2 to 6 and 16 of SubscribeResponse, zero ones left out. */
function encodeTrailer(delivery: Delivery): Buffer {
  const incarnationBytes = Buffer.byteLength(delivery.incarnation ?? "");
  const bytes = Buffer.allocUnsafe(80 + incarnationBytes);
  let at = writeNumber(bytes, 0, 0x10, Number(delivery.nextOffset));
  at = writeNumber(bytes, at, 0x18, Number(delivery.tailOffset));
  if (delivery.tailTimestamp !== undefined) at = writeTimestamp(bytes, at, 0x22, delivery.tailTimestamp);
  at = writeNumber(bytes, at, 0x28, delivery.caughtUp ? 1 : 0);
  if (incarnationBytes > 0) {
    bytes[at++] = 0x32;
    at = writeVarint(bytes, at, incarnationBytes);
    at += bytes.write(delivery.incarnation!, at, "utf8");
  }
  if (delivery.completeUntil !== undefined) {
    // The first of the tag's two bytes.
    bytes[at++] = 0x82;
    at = writeTimestamp(bytes, at, 0x01, delivery.completeUntil);
  }
  return bytes.subarray(0, at);
}

function writeNumber(bytes: Buffer, at: number, tag: number, value: number): number {
  if (value === 0) return at;
  bytes[at] = tag;
  return writeVarint(bytes, at + 1, value);
}

function writeTimestamp(bytes: Buffer, at: number, tag: number, timestamp: number): number {
  const seconds = Math.floor(timestamp / 1000);
  const nanos = (timestamp % 1000) * 1_000_000;
  const length = (seconds > 0 ? 1 + varintBytes(seconds) : 0) + (nanos > 0 ? 1 + varintBytes(nanos) : 0);
  bytes[at] = tag;
  bytes[at + 1] = length;
  return writeNumber(bytes, writeNumber(bytes, at + 2, 0x08, seconds), 0x10, nanos);
}
