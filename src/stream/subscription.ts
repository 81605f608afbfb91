/**
 * One subscription: from its start it catches up and follows the tail.
 *
 * It holds an offset, not a queue: each turn of the loop reads what stands at the offset, and the loop turns when the
 * transport has taken the last delivery. So a slow subscriber costs no memory, and there is no seam between catching up
 * and following: both are "the frames from this offset on".
 */
import type { Clock } from "../clock.ts";
import type { Frame } from "../segment/format.ts";
import { damageError } from "../segment/scan.ts";
import { selectRecords } from "../segment/records.ts";
import type { Delivery, End, Start, SubscribeCommand } from "./commands.ts";
import { outOfRange, type Stream } from "./stream.ts";

/** What is the same through a subscription's life. */
interface Plan {
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

/** Where a subscription stands. */
interface Progress {
  offset: bigint;
  /** How many records may still be delivered. */
  remaining: number;
  /** Whether the requested end was met by a record's timestamp. */
  ended: boolean;
}

/** Reads `stream` as `command` says. Ends at the requested end, when `signal` is aborted, or by throwing. */
export async function* subscribe(
  stream: Stream,
  command: SubscribeCommand,
  clock: Clock,
  responseBytes: number,
  signal: AbortSignal,
): AsyncGenerator<Delivery> {
  stream.assertCurrent();
  const start = await startOffset(stream, command.start);
  const plan = planOf(stream, command, responseBytes);
  const progress: Progress = { offset: start, remaining: countOf(command.end), ended: false };
  let first = true;
  let saidCaughtUp = false;
  let quietSince = clock.monotonic();
  while (!signal.aborted) {
    stream.assertCurrent();
    const more = !isOver(stream, plan, progress, clock) && progress.offset < stream.nextOffset;
    const payload = more ? await collect(stream, plan, progress) : [];
    const over = isOver(stream, plan, progress, clock);
    const caughtUp = progress.offset >= stream.nextOffset;
    const silentMs = clock.monotonic() - quietSince;
    const reached = caughtUp && !saidCaughtUp;
    if (payload.length > 0 || first || over || reached || silentMs >= command.heartbeatMs) {
      saidCaughtUp = caughtUp;
      const heartbeat = payload.length === 0;
      yield delivery(stream, progress, payload, caughtUp, first || heartbeat);
      first = false;
      quietSince = clock.monotonic();
    }
    if (over) return;
    // A filter that matches nothing reads on and on: others must have their turns.
    if (more && payload.length === 0) await clock.turn();
    if (caughtUp && progress.offset >= stream.nextOffset && !isOver(stream, plan, progress, clock)) {
      const untilHeartbeat = Math.max(0, command.heartbeatMs - (clock.monotonic() - quietSince));
      await stream.waitForChange(Math.min(untilHeartbeat, untilEnd(plan, clock)), signal);
    }
  }
}

async function startOffset(stream: Stream, start: Start): Promise<bigint> {
  const { startOffset: first, nextOffset: next } = stream;
  switch (start.at) {
    case "earliest":
      return first;
    case "latest":
      return next;
    case "last":
      return next - first > start.count ? next - start.count : first;
    case "timestamp":
      return stream.offsetAt(start.timestamp);
    case "offset":
      if (start.offset < first || start.offset > next) throw outOfRange(stream, start.offset);
      return start.offset;
  }
}

function planOf(stream: Stream, { start, end, keyPrefix }: SubscribeCommand, responseBytes: number): Plan {
  return {
    fromTimestamp: start.at === "timestamp" ? start.timestamp : 0,
    untilOffset: end.at === "offset" ? end.offset : end.at === "tail" ? stream.nextOffset : undefined,
    untilTimestamp: end.at === "timestamp" ? end.timestamp : undefined,
    keyPrefix,
    responseBytes,
  };
}

function countOf(end: End): number {
  return end.at === "count" ? Number(end.count) : Infinity;
}

function isOver(stream: Stream, plan: Plan, progress: Progress, clock: Clock): boolean {
  if (progress.ended || progress.remaining <= 0) return true;
  if (plan.untilOffset !== undefined) return progress.offset >= plan.untilOffset;
  // At the tail, a time that has passed cannot get records any more, unless a commit with it is under way.
  const { untilTimestamp } = plan;
  const atTail = progress.offset >= stream.nextOffset && !stream.committer.busy;
  return untilTimestamp !== undefined && atTail && clock.now() >= untilTimestamp;
}

/** How long to wait at the most until a requested end by time can be over, in milliseconds. */
function untilEnd(plan: Plan, clock: Clock): number {
  if (plan.untilTimestamp === undefined) return Infinity;
  return Math.max(busyWaitMs, plan.untilTimestamp - clock.now());
}

/** A commit that is under way when the end's time comes is waited for in steps of this. */
const busyWaitMs = 10;

/** Takes the records of one response, from the frames at the offset, and moves the offset behind them. */
async function collect(stream: Stream, plan: Plan, progress: Progress): Promise<Uint8Array[]> {
  if (progress.offset < stream.startOffset) throw outOfRange(stream, progress.offset);
  const payload: Uint8Array[] = [];
  const from = progress.offset;
  let bytes = 0;
  for (const frame of await stream.framesFrom(progress.offset)) {
    if (frame.firstOffset > progress.offset) {
      // What lies before the damage goes out first; the next turn names the place.
      if (progress.offset > from) break;
      throw damageError(stream.name, frame.position, progress.offset);
    }
    if (plan.untilTimestamp !== undefined && frame.timestamp >= plan.untilTimestamp) progress.ended = true;
    if (progress.ended || bytes >= plan.responseBytes || progress.remaining <= 0) break;
    if (frame.timestamp < plan.fromTimestamp) {
      progress.offset = frame.nextOffset;
      continue;
    }
    const taken = takeFrame(frame, plan, progress, responseBytesMax - bytes);
    payload.push(...taken.pieces);
    bytes += taken.bytes;
    if (progress.offset < frame.nextOffset) break;
  }
  return payload;
}

/** Takes a frame whole where all of it is wanted, without a look at its records; else the records that are wanted. */
function takeFrame(
  frame: Frame,
  plan: Plan,
  progress: Progress,
  room: number,
): { pieces: Uint8Array[]; bytes: number } {
  const { untilOffset, keyPrefix } = plan;
  const all =
    frame.firstOffset === progress.offset &&
    keyPrefix.length === 0 &&
    frame.recordCount <= progress.remaining &&
    (untilOffset === undefined || frame.nextOffset <= untilOffset);
  if (all && frame.payload.length <= room) {
    progress.offset = frame.nextOffset;
    progress.remaining -= frame.recordCount;
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
  return selected;
}

function delivery(
  stream: Stream,
  progress: Progress,
  payload: readonly Uint8Array[],
  caughtUp: boolean,
  identify: boolean,
): Delivery {
  return {
    payload,
    nextOffset: progress.offset,
    tailOffset: stream.nextOffset,
    tailTimestamp: stream.lastTimestamp,
    caughtUp,
    incarnation: identify ? stream.incarnation : undefined,
  };
}
