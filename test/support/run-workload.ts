import type { ExecutionContext } from "ava";
import { isKind } from "../../src/errors.ts";
import type { VaultApi } from "../../src/stream/commands.ts";
import { verifyStream } from "../../src/stream/verify.ts";
import type { TestEngine } from "./create-engine.ts";
import { drive } from "./drive.ts";
import { publish } from "./publish-records.ts";
import { readRecords } from "./read-records.ts";

/** A batch that was published, and what became of it. */
export interface Attempt {
  readonly values: readonly string[];
  readonly producer: { readonly id: string; readonly sequence: bigint };
  outcome: { readonly firstOffset: bigint } | "notStored" | "unknown";
}

/** The `number`th batch: three records of `valueBytes` bytes. */
function createAttempt(number: number, valueBytes: number): Attempt {
  const values = ["a", "b", "c"].map((letter) => `${number}${letter}`.padEnd(valueBytes, "."));
  // A producer of its own for each batch, so that one that is lost does not refuse those behind it.
  return { values, producer: { id: `p${number}`, sequence: 1n }, outcome: "unknown" };
}

/** Publishes batches of three records of `valueBytes` bytes, one after another, and keeps what became of each. */
export async function publishAll(
  { clock }: TestEngine,
  vault: VaultApi,
  stream: string,
  { count = 10, valueBytes = 5000, first = 0 } = {},
): Promise<Attempt[]> {
  const attempts = Array.from({ length: count }, (_, i) => createAttempt(first + i, valueBytes));
  for (const attempt of attempts) await drive(clock, send(vault, stream, attempt));
  return attempts;
}

/** As `publishAll`, but all batches at once. */
export async function publishTogether(
  { clock }: TestEngine,
  vault: VaultApi,
  stream: string,
  { count = 10, valueBytes = 5000 } = {},
): Promise<Attempt[]> {
  const attempts = Array.from({ length: count }, (_, i) => createAttempt(i, valueBytes));
  await drive(clock, Promise.all(attempts.map((attempt) => send(vault, stream, attempt))));
  return attempts;
}

/** Publishes a batch and keeps what became of it. */
async function send(vault: VaultApi, stream: string, attempt: Attempt): Promise<void> {
  try {
    attempt.outcome = await publish(vault, stream, attempt.values, { producer: attempt.producer });
  } catch (error) {
    if (isKind(error, "indeterminate")) attempt.outcome = "unknown";
    else if (isKind(error, "unavailable", "overloaded")) attempt.outcome = "notStored";
    else throw error;
  }
}

/**
 * What must hold whatever failed: a vault that opens the storage anew finds every acknowledged batch exactly once at its
 * offset, no other batch twice, what was answered as not stored not at all; what is sent again is stored once; and
 * verify finds nothing.
 */
export async function assertKept(
  t: ExecutionContext,
  engine: TestEngine,
  stream: string,
  attempts: readonly Attempt[],
  what: string,
): Promise<void> {
  const { vault } = engine.open({ store: engine.memory });
  if (attempts.every((attempt) => attempt.outcome === "notStored")) return;
  for (const attempt of attempts) {
    const { producer, values, outcome } = attempt;
    const { firstOffset, duplicate } = await publish(vault, stream, values, { producer });
    if (outcome === "notStored") t.false(duplicate, `${what}: batch ${producer.id} was said not to be stored`);
    else if (outcome !== "unknown") t.deepEqual([firstOffset, duplicate], [outcome.firstOffset, true], what);
  }
  const records = await readRecords(vault, stream);
  t.deepEqual(
    records.map((record) => record.offset),
    records.map((_, i) => BigInt(i)),
    what,
  );
  const found = records.map((record) => Buffer.from(record.value).toString());
  t.deepEqual(found.toSorted(), attempts.flatMap((attempt) => attempt.values).toSorted(), what);
  t.deepEqual(await findingsOf(engine, stream), [], what);
}

/** What verify finds wrong with a stream. */
export async function findingsOf({ memory, clock }: TestEngine, stream: string) {
  const events = await drive(clock, Array.fromAsync(verifyStream(memory, stream, clock)));
  return events.filter((event) => event.kind === "finding");
}
