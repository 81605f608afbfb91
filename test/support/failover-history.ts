/** What happened in a run: every publish with its outcome, and everything that was read. */
import { systemClock } from "../../src/clock.ts";
import type { PublishReceipt, VaultClient } from "../../src/client.ts";
import { isKind } from "../../src/errors.ts";
import type { Log } from "../../src/log.ts";
import { silentLog } from "../../src/log.ts";

/** What became of a publish. `refused`: it must not be stored. `unknown`: it may be. */
export type Outcome = "pending" | "stored" | "refused" | "unknown";

/** A publish of one record. Times are by the monotonic clock, in milliseconds. */
export interface Attempt {
  /** Stands in the record's value. */
  readonly id: number;
  readonly stream: string;
  /** Who published: what one publisher published is stored in order. */
  readonly source: string;
  readonly calledAt: number;
  endedAt: number | undefined;
  outcome: Outcome;
  /** Where it is stored. */
  offset: number | undefined;
  /** Why not. */
  failure: string | undefined;
}

/** A connection or a subscription that broke and was made anew. */
export interface Interruption {
  readonly at: number;
  /** Of the node that was connected to. */
  readonly address: string;
  readonly why: string;
}

/** A subscriber, and what it has seen. */
export interface Reader {
  readonly name: string;
  readonly stream: string;
  /** The name of the node that it reads from, until that is gone for the first time. */
  readonly node: string;
  /** The ids of the records, by offset, from the stream's first on. */
  readonly ids: number[];
  /** What must not be: gaps, duplicates. */
  readonly faults: string[];
  /** When its connection or its subscription broke and was made anew. */
  readonly interruptions: Interruption[];
  /** Ends it; rejects with what ended it before. */
  stop(): Promise<void>;
}

/** The history of a run. */
export interface History {
  readonly attempts: readonly Attempt[];
  readonly readers: readonly Reader[];
  /** Begins a publish. */
  begin(stream: string, source: string): Attempt;
  /** Notes that an attempt was acknowledged. */
  noteStored(attempt: Attempt, receipt: PublishReceipt): void;
  /** Notes that an attempt failed, and whether it may be stored all the same. */
  noteFailed(attempt: Attempt, error: unknown): void;
  /** The times at which publishes to a stream were acknowledged, in order. */
  acknowledgedAt(stream: string): readonly number[];
  /** Begins to read a stream from its first record on. */
  read(client: (log: Log) => VaultClient, node: string, stream: string): Reader;
}

/** The value of the record of an attempt. */
export function recordValue(id: number): string {
  return `${id} ${"x".repeat((id * 7919) % 200)}`;
}

/** The attempt's id in a record's value. */
export function readId(value: Uint8Array): number {
  return Number.parseInt(Buffer.from(value).toString(), 10);
}

/** Begins a history. */
export function createHistory(): History {
  const attempts: Attempt[] = [];
  const readers: Reader[] = [];
  const acknowledged = new Map<string, number[]>();
  return {
    attempts,
    readers,
    begin(stream, source) {
      const calledAt = systemClock.monotonic();
      const rest = { endedAt: undefined, offset: undefined, failure: undefined };
      const attempt: Attempt = { id: attempts.length, stream, source, calledAt, outcome: "pending", ...rest };
      attempts.push(attempt);
      return attempt;
    },
    noteStored(attempt, { firstOffset }) {
      attempt.endedAt = systemClock.monotonic();
      attempt.outcome = "stored";
      attempt.offset = Number(firstOffset);
      const times = acknowledged.get(attempt.stream) ?? [];
      times.push(attempt.endedAt);
      acknowledged.set(attempt.stream, times);
    },
    noteFailed(attempt, error) {
      attempt.endedAt = systemClock.monotonic();
      attempt.outcome = isKind(error, "indeterminate") ? "unknown" : "refused";
      attempt.failure = error instanceof Error ? error.message : String(error);
    },
    acknowledgedAt: (stream) => acknowledged.get(stream) ?? [],
    read(client, node, stream) {
      const reader = startReader(client, node, stream);
      readers.push(reader);
      return reader;
    },
  };
}

/** The longest time, in milliseconds, between two neighbours in `times` of which some lies between `from` and `to`. */
export function longestGap(times: readonly number[], from: number, to: number): number {
  let longest = 0;
  for (let i = 1; i < times.length; i++) {
    const [before, after] = [times[i - 1]!, times[i]!];
    if (after > from && before < to) longest = Math.max(longest, after - before);
  }
  return longest;
}

function startReader(client: (log: Log) => VaultClient, node: string, stream: string): Reader {
  const name = `the subscriber of ${stream} at ${node}`;
  const stopping = new AbortController();
  const ids: number[] = [];
  const faults: string[] = [];
  const interruptions: Reader["interruptions"] = [];
  const log: Log = {
    ...silentLog,
    warn: (_event, fields) => {
      interruptions.push({
        at: systemClock.monotonic(),
        address: String(fields?.["address"]),
        why: String((fields?.["error"] as Error | undefined)?.message),
      });
    },
  };
  async function follow(): Promise<void> {
    const options = { start: { at: "earliest" }, heartbeatMs: 1000, signal: stopping.signal } as const;
    for await (const { records } of client(log).subscribe(stream, options).batches()) {
      for (const { offset, value } of records) {
        if (offset !== BigInt(ids.length)) faults.push(`${name} read ${offset} where ${ids.length} is next`);
        ids.push(readId(value));
      }
    }
  }
  const ended = follow().catch((error: unknown) => void faults.push(`${name} ended: ${String(error)}`));
  return {
    name,
    stream,
    node,
    ids,
    faults,
    interruptions,
    stop() {
      stopping.abort();
      return ended;
    },
  };
}
