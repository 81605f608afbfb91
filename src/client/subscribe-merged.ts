import type { End, Start } from "../stream/commands.ts";
import type { CallContext } from "./call.ts";
import type { SubscribeOptions } from "./cursor.ts";
import { followStream } from "./follow-stream.ts";
import { Merge } from "./merge.ts";
import type { MergedCursor, MergedSubscription } from "./merge.ts";

/** What to read of several streams, and where from. */
export interface MergedOptions extends Pick<SubscribeOptions, "keyPrefix" | "retryForMs" | "signal"> {
  /** Where streams begin that `cursor` does not name: at the tail where absent. */
  readonly start?: Extract<Start, { at: "earliest" | "latest" | "timestamp" }> | undefined;
  /** Where streams go on: what an earlier merged subscription told. */
  readonly cursor?: MergedCursor | undefined;
  /** Where to end: each stream at its own tail as it stands, or before a time; never where absent. */
  readonly end?: Extract<End, { at: "never" | "tail" | "timestamp" }> | undefined;
  /**
   * How long a vault may be silent about a stream, in milliseconds: 100 to 300,000; 1,000 by default. A record waits for
   * so long at most after the vault could confirm that no silent stream has an earlier one.
   */
  readonly heartbeatMs?: number | undefined;
}

const heartbeatMsDefault = 1000;

/** Reads several streams as one, each by a subscription of its own. See `Merge` for the order. */
export function subscribeMerged(
  context: CallContext,
  streams: readonly string[],
  options: MergedOptions,
): MergedSubscription {
  const { start, cursor = {}, end, keyPrefix, retryForMs, heartbeatMs = heartbeatMsDefault } = options;
  const stopping = new AbortController();
  const signals = options.signal === undefined ? [stopping.signal] : [stopping.signal, options.signal];
  const signal = AbortSignal.any(signals);
  // Only a stream that is read beyond what was there needs to be told that nothing came.
  const confirmed = end?.at !== "tail";
  const follow = (stream: string) => {
    const offset = cursor[stream];
    const from: Start | undefined = offset === undefined ? start : { at: "offset", offset };
    return followStream(context, stream, { start: from, end, keyPrefix, retryForMs, heartbeatMs, signal, confirmed });
  };
  return new Merge(new Map(streams.map((stream) => [stream, follow(stream)])), cursor, () => stopping.abort());
}
