/** When the segments of a log begin and end, as far as their indexes were read: what a search by time can leave out. */
import type { SealedSegment } from "../segment/reader.ts";
import type { ListedSegment } from "./segment-list.ts";

/** Times of a segment in milliseconds since 1970. */
interface Times {
  readonly first: number;
  readonly last: number;
}

/**
 * Where a search by time stands: the segments before `low` end before the time, the one at `high` and those behind it do
 * not. `lowTime` and `highTime` are when these begin, where that is known.
 */
export interface TimeSearch {
  readonly low: number;
  readonly high: number;
  readonly lowTime: number | undefined;
  readonly highTime: number | undefined;
}

/** The times of one log's sealed segments. What is known of a segment stays true, as it is sealed. */
export class SegmentTimes {
  private readonly known = new Map<bigint, Times>();

  /** Learns from a segment's index. */
  learn({ firstOffset, index, lastTimestamp }: SealedSegment): void {
    this.known.set(firstOffset, { first: index.entries[0]?.timestamp ?? lastTimestamp, last: lastTimestamp });
  }

  /** Narrows the search for the first of `segments` that does not end before `timestamp`, without reading anything. */
  narrow(segments: readonly ListedSegment[], timestamp: number, openTime: number | undefined): TimeSearch {
    let low = 0;
    let high = segments.length;
    let lowTime: number | undefined;
    let highTime = openTime;
    for (const [at, { firstOffset }] of segments.entries()) {
      const times = this.known.get(firstOffset);
      if (times === undefined) continue;
      if (times.last >= timestamp) {
        high = at;
        highTime = times.first;
        // The one before it ends no later than this one begins.
        if (times.first < timestamp) low = at;
        break;
      }
      low = at + 1;
      lowTime = times.last;
    }
    // What is behind the last sealed segment begins before the time: so that one ends before it.
    if (high === segments.length && openTime !== undefined && openTime < timestamp) low = high;
    return { low, high, lowTime, highTime };
  }
}

/**
 * Which of `segments` to look at next, of those that a search has left: the first that storage changed no earlier than
 * `timestamp`, as a segment is not changed after its last record; else where it would be if records came at an even rate.
 * `bisect`: the middle one, so that guesses that lead nowhere cost no more than twice the steps of a bisection.
 */
export function chooseProbe(
  { low, high, lowTime, highTime }: TimeSearch,
  segments: readonly ListedSegment[],
  timestamp: number,
  bisect: boolean,
): number {
  if (bisect) return (low + high) >>> 1;
  const changed = segments.findIndex(({ changedAt = 0 }, at) => at >= low && at < high && changedAt >= timestamp);
  if (changed >= 0) return changed;
  if (lowTime === undefined || highTime === undefined || highTime <= lowTime) return (low + high) >>> 1;
  const at = low + Math.floor(((timestamp - lowTime) / (highTime - lowTime)) * (high - low));
  return Math.max(low, Math.min(at, high - 1));
}
