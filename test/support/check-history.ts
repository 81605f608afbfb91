/** Judges a history by what storage holds at the end. */
import type { Attempt, History, Reader } from "./failover-history.ts";
import type { StoredStream } from "./read-stored-stream.ts";

/** What a run came to. All but `acknowledged` and `publishFailures` must be zero, and `faults` empty. */
export interface Verdict {
  /** How many publishes were acknowledged. */
  acknowledged: number;
  /** Acknowledged, and not where the answer said. */
  lost: number;
  /** Stored more than once. */
  duplicated: number;
  /** Read by a subscriber at an offset where something else, or nothing, is stored. */
  vanished: number;
  /** Frames of an older epoch behind a newer one, and writes of an older epoch accepted after a raise. */
  staleWrites: number;
  /** Publishes with a producer sequence that failed at the client. */
  publishFailures: number;
  /** Everything found in words, the first few of each kind. */
  readonly faults: string[];
}

const faultsMax = 20;

/** Judges `history`. `staleWrites` are those that were seen on the way to storage. */
export function checkHistory(
  history: History,
  stored: readonly StoredStream[],
  staleWrites: readonly string[],
): Verdict {
  const verdict: Verdict = {
    acknowledged: 0,
    lost: 0,
    duplicated: 0,
    vanished: 0,
    staleWrites: staleWrites.length,
    publishFailures: 0,
    faults: staleWrites.slice(0, faultsMax),
  };
  for (const stream of stored) {
    const attempts = history.attempts.filter((attempt) => attempt.stream === stream.stream);
    const readers = history.readers.filter((reader) => reader.stream === stream.stream);
    verdict.staleWrites += stream.staleFrames.length;
    note(verdict, [...stream.staleFrames, ...stream.faults]);
    checkAttempts(verdict, attempts, history, stream);
    checkOrder(verdict, attempts, stream.stream);
    for (const reader of readers) checkReader(verdict, reader, stream);
  }
  return verdict;
}

function note(verdict: Verdict, faults: readonly string[]): void {
  verdict.faults.push(...faults.slice(0, Math.max(0, faultsMax - verdict.faults.length)));
}

function checkAttempts(
  verdict: Verdict,
  attempts: readonly Attempt[],
  history: History,
  { stream, ids }: StoredStream,
): void {
  const places = new Map<number, number>();
  for (const [offset, id] of ids.entries()) {
    const earlier = places.get(id);
    if (earlier !== undefined) {
      verdict.duplicated++;
      note(verdict, [`${stream}: ${describe(history.attempts[id])} is stored at ${earlier} and at ${offset}`]);
    }
    places.set(id, offset);
    if (history.attempts[id]?.stream !== stream) note(verdict, [`${stream}: nobody published what is at ${offset}`]);
  }
  for (const attempt of attempts) {
    const place = places.get(attempt.id);
    if (attempt.outcome === "stored") {
      verdict.acknowledged++;
      if (ids[attempt.offset!] === attempt.id) continue;
      verdict.lost++;
      note(verdict, [`${stream}: ${describe(attempt)} is at ${place ?? "no offset"}`]);
    } else {
      if (attempt.source.includes("/")) verdict.publishFailures++;
      if (attempt.outcome === "pending") note(verdict, [`${stream}: ${describe(attempt)} was never answered`]);
      if (attempt.outcome === "refused" && place !== undefined) {
        note(verdict, [`${stream}: ${describe(attempt)} is stored at ${place} all the same`]);
      }
    }
  }
}

function checkOrder(verdict: Verdict, attempts: readonly Attempt[], stream: string): void {
  const last = new Map<string, number>();
  for (const { source, outcome, offset } of attempts) {
    if (outcome !== "stored") continue;
    if (offset! <= (last.get(source) ?? -1)) note(verdict, [`${stream}: ${source} is out of order at ${offset}`]);
    last.set(source, offset!);
  }
}

function checkReader(verdict: Verdict, { name, ids, faults }: Reader, stored: StoredStream): void {
  note(verdict, faults);
  const vanished = ids.findIndex((id, offset) => stored.ids[offset] !== id);
  if (vanished >= 0) {
    verdict.vanished += ids.filter((id, offset) => stored.ids[offset] !== id).length;
    note(verdict, [`${stored.stream}: ${name} read ${ids[vanished]} at ${vanished}: ${stored.ids[vanished]} is there`]);
  } else if (ids.length < stored.ids.length) {
    note(verdict, [`${stored.stream}: ${name} has read ${ids.length} of ${stored.ids.length} records`]);
  }
}

function describe(attempt: Attempt | undefined): string {
  if (attempt === undefined) return "a record of nobody";
  const { id, source, outcome, offset, failure } = attempt;
  return `record ${id} of ${source} (${outcome}${offset === undefined ? "" : ` at ${offset}`}${failure === undefined ? "" : `: ${failure}`})`;
}
