/**
 * The subscriptions of a node, and what is told of them: asked for when metrics are collected, from where each stands.
 *
 * Invariants: `standings` are in the order in which subscriptions began; the first `telemetryStreamsMax` of them are told
 * of one by one. Numbers run from 1 to that, and one is used again when its subscription ends, so that a stream never has
 * more series than that.
 */
import type { Counter, Report } from "../telemetry.ts";
import type { Engine } from "./engine.ts";
import type { StreamView } from "./stream-view.ts";

/** Where a subscription stands, as it was last seen to. */
export interface Standing {
  readonly stream: string;
  /** By what number it is told of; undefined while it is not. */
  number: number | undefined;
  /** What it reads. */
  view: StreamView | undefined;
  /** How far it has come; undefined before it has begun. */
  progress: { readonly offset: bigint; readonly timestamp: number | undefined } | undefined;
  /** It is about to be sent `count` records. */
  send(payload: readonly Uint8Array[], count: number): void;
}

/** The subscriptions of a node. */
export interface SubscriptionMeters {
  /** How many there are. */
  readonly open: number;
  begin(stream: string): Standing;
  end(standing: Standing): void;
  /** Ends telling. */
  close(): void;
}

/** How far a subscription is behind. */
interface Lag {
  readonly records: number;
  /** Undefined where it has been sent nothing yet. */
  readonly seconds: number | undefined;
}

/** Makes a node's subscriptions. */
export function createSubscriptionMeters({ telemetry, settings }: Engine): SubscriptionMeters {
  const standings = new Set<Standing>();
  const numbers = new Set<number>();

  function takeNumber(): number {
    let number = 1;
    while (numbers.has(number)) number++;
    numbers.add(number);
    return number;
  }

  function reportEach(report: Report, read: (lag: Lag) => number | undefined): void {
    let told = 0;
    for (const standing of standings) {
      if (told++ >= settings.telemetryStreamsMax) return;
      standing.number ??= takeNumber();
      const lag = lagOf(standing);
      const value = lag === undefined ? undefined : read(lag);
      const stream = telemetry.streamName(standing.stream);
      const values = { "messaging.destination.name": stream, "messagevault.subscription.id": standing.number };
      if (value !== undefined) report(value, values);
    }
  }

  function worst(read: (lag: Lag) => number | undefined): number {
    let most = 0;
    for (const standing of standings) {
      const lag = lagOf(standing);
      most = Math.max(most, (lag === undefined ? undefined : read(lag)) ?? 0);
    }
    return most;
  }

  const records = (lag: Lag) => lag.records;
  const seconds = (lag: Lag) => lag.seconds;
  const ends = [
    telemetry.observe("messagevault.subscriptions.open", (report) => report(standings.size)),
    telemetry.observe("messagevault.subscriptions.caught_up", (report) =>
      report([...standings].filter((standing) => lagOf(standing)?.records === 0).length),
    ),
    telemetry.observe("messagevault.subscriptions.lag.records.max", (report) => report(worst(records))),
    telemetry.observe("messagevault.subscriptions.lag.time.max", (report) => report(worst(seconds))),
    telemetry.observe("messagevault.subscription.lag.records", (report) => reportEach(report, records)),
    telemetry.observe("messagevault.subscription.lag.time", (report) => reportEach(report, seconds)),
  ];

  return {
    get open() {
      return standings.size;
    },
    begin(stream) {
      const named = { "messaging.destination.name": telemetry.metering ? telemetry.streamName(stream) : "" };
      const counters = {
        responses: telemetry.counter("messagevault.delivery.responses", named),
        records: telemetry.counter("messagevault.delivery.records", named),
        bytes: telemetry.counter("messagevault.delivery.bytes", named),
      };
      const send = telemetry.metering ? sender(counters) : () => undefined;
      const standing: Standing = { stream, number: undefined, view: undefined, progress: undefined, send };
      standings.add(standing);
      return standing;
    },
    end(standing) {
      standings.delete(standing);
      if (standing.number !== undefined) numbers.delete(standing.number);
    },
    close() {
      for (const end of ends) end();
    },
  };
}

function sender(counters: Readonly<Record<"responses" | "records" | "bytes", Counter>>): Standing["send"] {
  return (payload, count) => {
    counters.responses.add(1);
    counters.records.add(count);
    for (const piece of payload) counters.bytes.add(piece.length);
  };
}

/** Undefined where it has not begun, or where its view has ended and says nothing any more. */
function lagOf({ view, progress }: Standing): Lag | undefined {
  if (view === undefined || progress === undefined || view.ended) return undefined;
  const behind = Number(view.nextOffset - progress.offset);
  if (behind <= 0) return { records: 0, seconds: 0 };
  const { lastTimestamp } = view;
  const { timestamp } = progress;
  const known = lastTimestamp !== undefined && timestamp !== undefined;
  return { records: behind, seconds: known ? Math.max(0, lastTimestamp - timestamp) / 1000 : undefined };
}
