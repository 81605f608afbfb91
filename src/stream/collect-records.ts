/** What one response of a subscription holds: whole frames as they are stored, or the records of them that are wanted. */
import type { Loan } from "../segment/byte-cache.ts";
import type { Frame } from "../segment/format.ts";
import { selectRecords } from "../segment/records.ts";
import { damageError } from "../segment/scan.ts";
import { outOfRange, type StreamView } from "./stream-view.ts";

/** What is the same through a subscription's life. */
export interface Plan {
  /** Records before this time are passed over: where the start is a time that has not come yet. */
  readonly fromTimestamp: number;
  readonly untilOffset: bigint | undefined;
  readonly untilTimestamp: number | undefined;
  readonly keyPrefix: Uint8Array;
  /** A response is sent once it has so many bytes. */
  readonly responseBytes: number;
}

/**
 * What a response may have at the most, unless a single record is larger: whole frames are sent up to here, so that
 * they need not be cut. Half of the 4 MiB that gRPC clients take by default.
 */
const responseBytesMax = 2 * 1024 * 1024;

/** How far a subscription has come. */
export interface Reach {
  offset: bigint;
  /** How many records may still be delivered. */
  remaining: number;
  /** How many were taken. */
  taken: number;
  /** The timestamp of the last frame that was taken from, in milliseconds since 1970; undefined before the first. */
  timestamp: number | undefined;
  /** Whether the requested end was met by a record's timestamp. */
  ended: boolean;
}

/**
 * Takes the records of one response, from the frames at the offset, and moves `progress` behind them. Throws what
 * `framesFrom` throws, and `outOfRange` where the offset is trimmed.
 */
export async function collectRecords(view: StreamView, plan: Plan, progress: Reach): Promise<Loan<Uint8Array[]>> {
  if (progress.offset < view.startOffset) throw outOfRange(view, progress.offset);
  // Whoever has read before reads on; a first read may be for one record only.
  const { value: frames, giveBack } = await view.framesFrom(progress.offset, progress.timestamp !== undefined);
  const payload: Uint8Array[] = [];
  const from = progress.offset;
  let bytes = 0;
  for (const frame of frames) {
    if (frame.firstOffset > progress.offset) {
      // What lies before the damage goes out first; the next turn names the place.
      if (progress.offset > from) break;
      throw damageError(view.name, frame.position, progress.offset);
    }
    if (plan.untilTimestamp !== undefined && frame.timestamp >= plan.untilTimestamp) progress.ended = true;
    if (progress.ended || bytes >= plan.responseBytes || progress.remaining <= 0) break;
    if (frame.timestamp < plan.fromTimestamp) {
      progress.offset = frame.nextOffset;
      continue;
    }
    const taken = takeFrame(frame, plan, progress, responseBytesMax - bytes);
    progress.timestamp = frame.timestamp;
    payload.push(...taken.pieces);
    bytes += taken.bytes;
    if (progress.offset < frame.nextOffset) break;
  }
  if (payload.length === 0) giveBack();
  return { value: payload, giveBack };
}

/** Takes a frame whole where all of it is wanted, without a look at its records; else the records that are wanted. */
function takeFrame(frame: Frame, plan: Plan, progress: Reach, room: number): { pieces: Uint8Array[]; bytes: number } {
  const { untilOffset, keyPrefix } = plan;
  const all =
    frame.firstOffset === progress.offset &&
    keyPrefix.length === 0 &&
    frame.recordCount <= progress.remaining &&
    (untilOffset === undefined || frame.nextOffset <= untilOffset);
  if (all && frame.payload.length <= room) {
    progress.offset = frame.nextOffset;
    progress.remaining -= frame.recordCount;
    progress.taken += frame.recordCount;
    return { pieces: frame.payload.length > 0 ? [frame.payload] : [], bytes: frame.payload.length };
  }
  // What would have to be cut only because others came first begins the next response.
  if (all && room < responseBytesMax) return { pieces: [], bytes: 0 };
  const selected = selectRecords(frame.payload, frame.firstOffset, {
    fromOffset: progress.offset,
    untilOffset,
    bytesMax: room,
    alwaysOne: room === responseBytesMax,
    countMax: progress.remaining,
    keyPrefix,
  });
  progress.offset = selected.nextOffset;
  progress.remaining -= selected.count;
  progress.taken += selected.count;
  return selected;
}
