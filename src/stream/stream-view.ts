import { type ErrorKind, VaultError } from "../errors.ts";
import type { Loan } from "../segment/byte-cache.ts";
import type { Frame } from "../segment/format.ts";
import type { SegmentInfo, StreamInfo } from "./commands.ts";

/**
 * A stream as readers see it. On the node that leads that is the stream itself, on any other one that is read from
 * storage: where the role of a node changes, its readers go on with another view of the same stream.
 */
export interface StreamView {
  readonly name: string;
  readonly incarnation: string;
  /** The first offset that may be read. */
  readonly startOffset: bigint;
  /** The offset behind the last record that may be read. */
  readonly nextOffset: bigint;
  /** The timestamp of the last record in milliseconds since 1970; undefined while there is none. */
  readonly lastTimestamp: number | undefined;
  /**
   * No record at or behind `nextOffset` has, or will ever have, a timestamp before this one, in milliseconds since 1970.
   * Undefined where that is not known.
   */
  readonly completeUntil: number | undefined;
  /** Whether this node's role changed, so that another view of the stream has to be taken. */
  readonly moved: boolean;

  /** Whether nothing more comes from this view. */
  readonly ended: boolean;

  /** Throws why the view has ended, if it has. */
  assertOpen(): void;
  /**
   * Frames from the one that holds `offset` on, in order: at least one. `offset` is below `nextOffset`. Throws
   * `outOfRange` where it is trimmed, `corrupt` where it is damaged. Their payloads are there until they are given back.
   * `readAhead`: whether what comes behind them is wanted next, so that it is read meanwhile.
   */
  framesFrom(offset: bigint, readAhead: boolean): Promise<Loan<readonly Frame[]>>;
  /** The first offset at or after `timestamp`, in milliseconds since 1970, of what is kept. */
  offsetAt(timestamp: number): Promise<bigint>;
  /** Resolves when there is something new, after `delayMs`, or when `signal` is aborted. */
  waitForChange(delayMs: number, signal: AbortSignal): Promise<void>;
  /** Sees to it that `nextOffset` has everything that was acknowledged before the call, by whichever node. */
  checkTail(): Promise<void>;
  /** Whether all records before `timestamp`, in milliseconds since 1970, that will ever be are here. */
  isSettled(timestamp: number): boolean;
  /** What GetStream tells. */
  describe(): Promise<StreamInfo>;
  /** The segments that hold records from `from` to `to`; `to` of 0 means to the tail. */
  readAccess(from: bigint, to: bigint): Promise<{ incarnation: string; segments: SegmentInfo[] }>;
}

/** What reading or opening a stream may fail with although the next try can succeed. */
export const transientKinds: readonly ErrorKind[] = [
  "overloaded",
  "unavailable",
  "indeterminate",
  "conflict",
  "fenced",
];

/** Where a subscription gets its views from. Each one that is taken is given back. */
export interface ViewSource {
  /** The view that this node has now. Throws `notFound`, and what keeps it from being opened. */
  take(): Promise<StreamView>;
  /** The view that comes next, when one has moved: tried until it is there, the stream is not, or `signal` is aborted. */
  retake(signal: AbortSignal): Promise<StreamView>;
  giveBack(view: StreamView): void;
}

/** The error for an offset that is before the stream's start or beyond its tail. */
export function outOfRange(view: StreamView, offset: bigint): VaultError {
  const { startOffset: first, nextOffset: next } = view;
  const message = `offset ${offset} is not in stream ${view.name}, which goes from ${first} to ${next}`;
  return new VaultError("outOfRange", message, {
    resource: view.name,
    field: "offset",
    found: { first_offset: String(first), next_offset: String(next) },
  });
}
