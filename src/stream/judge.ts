/** Judging publishes, in order, against the log and what was accepted before them for the same commit. */
import { VaultError } from "../errors.ts";
import type { ProducerDraft } from "../segment/producers.ts";
import type { PublishCommand, PublishResult } from "./commands.ts";

/** What a publish is judged against. */
export interface JudgedLog {
  readonly incarnation: string;
  readonly producers: Pick<ProducerDraft, "judge" | "record">;
}

/** What becomes of a publish, once what it was judged against is durable. */
export type Judgement =
  | { readonly kind: "accepted"; readonly result: PublishResult }
  | { readonly kind: "duplicate"; readonly result: PublishResult }
  | { readonly kind: "refused"; readonly error: VaultError };

/**
 * Judges a publish that would be stored at `nextOffset` with `timestamp`. One that is accepted is remembered in
 * `producers` at once, so that what is behind it is judged against it.
 */
export function judge(log: JudgedLog, nextOffset: bigint, timestamp: number, command: PublishCommand): Judgement {
  const { batch, producer, expectedOffset, incarnation } = command;
  if (incarnation !== undefined && incarnation !== log.incarnation) {
    return { kind: "refused", error: wrongIncarnation(command.stream, incarnation, log.incarnation) };
  }
  if (producer !== undefined) {
    const verdict = log.producers.judge(producer.id, producer.sequence, batch.checksum, batch.count);
    if (verdict.kind === "conflict") {
      return { kind: "refused", error: wrongSequence(producer.sequence, verdict.lastSequence, verdict.reused) };
    }
    if (verdict.kind === "duplicate") {
      const { firstOffset, count, timestamp: storedAt } = verdict.first;
      return { kind: "duplicate", result: resultOf(log, firstOffset, count, storedAt, true) };
    }
  }
  if (expectedOffset !== undefined && expectedOffset !== nextOffset) {
    return { kind: "refused", error: wrongOffset(expectedOffset, nextOffset) };
  }
  if (producer !== undefined) {
    const { count, checksum } = batch;
    log.producers.record(producer.id, {
      sequence: producer.sequence,
      firstOffset: nextOffset,
      count,
      checksum,
      timestamp,
    });
  }
  return { kind: "accepted", result: resultOf(log, nextOffset, batch.count, timestamp, false) };
}

/** The error for a request that names an incarnation which is not the stream's any more. */
export function wrongIncarnation(stream: string, asked: string, found: string): VaultError {
  return new VaultError("conflict", `stream ${stream} was made anew: its incarnation is ${found}, not ${asked}`, {
    condition: "incarnation",
    resource: stream,
    found: { incarnation: found },
  });
}

function resultOf(
  log: JudgedLog,
  firstOffset: bigint,
  count: number,
  timestamp: number,
  duplicate: boolean,
): PublishResult {
  const { incarnation } = log;
  return { firstOffset, nextOffset: firstOffset + BigInt(count), timestamp, duplicate, incarnation };
}

function wrongSequence(asked: bigint, last: bigint, reused: boolean): VaultError {
  const problem = reused
    ? `sequence ${asked} was used before with other records`
    : `sequence ${asked} does not follow ${last} and is not remembered`;
  return new VaultError("conflict", `producer.sequence: ${problem}; the next one is ${last + 1n}`, {
    condition: "producerSequence",
    field: "producer.sequence",
    found: { last_sequence: String(last) },
  });
}

function wrongOffset(expected: bigint, found: bigint): VaultError {
  return new VaultError("conflict", `expected_offset is ${expected}, but the next offset is ${found}`, {
    condition: "expectedOffset",
    field: "expected_offset",
    found: { next_offset: String(found) },
  });
}
