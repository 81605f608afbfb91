import type { Attempt, History } from "../support/failover-history.ts";
import type { StoredStream } from "../support/read-stored-stream.ts";
import type { Append, HistoryOperation } from "./history.ts";

/**
 * What real processes did, as a history that the simulation's checks can judge: every publish as its client saw it, and
 * what storage holds of each stream at the end, as a last read.
 */
export function toOperations(history: History, stored: readonly StoredStream[]): HistoryOperation[] {
  const endedAt = Math.max(0, ...history.attempts.map((attempt) => attempt.endedAt ?? attempt.calledAt)) + 1;
  const appends = history.attempts.map(toAppend);
  const reads = stored.map(({ stream, ids }): HistoryOperation => {
    const values = ids.map(String);
    const when = { calledAt: endedAt, endedAt: endedAt + 1 };
    return {
      op: "read",
      client: "storage",
      stream,
      ...when,
      outcome: "ok",
      firstOffset: 0,
      values,
      nextOffset: ids.length,
    };
  });
  return [...appends, ...reads];
}

function toAppend({ id, stream, source, calledAt, endedAt, outcome, offset, failure }: Attempt): Append {
  const append = { op: "append", client: source, stream, calledAt, values: [String(id)] } as const;
  if (outcome === "stored") return { ...append, endedAt, outcome: "ok", firstOffset: offset };
  if (outcome === "refused") return { ...append, endedAt, outcome: "refused", reason: failure };
  return { ...append, outcome: "unknown", reason: failure };
}
