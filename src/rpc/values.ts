/**
 * Timestamps, durations and sizes between messages and the vault, which counts time in whole milliseconds and sizes in
 * numbers. What is read from a request throws `invalid`, naming the field.
 */
import { create } from "@bufbuild/protobuf";
import type { Duration, Timestamp } from "@bufbuild/protobuf/wkt";
import { DurationSchema, TimestampSchema } from "@bufbuild/protobuf/wkt";
import { VaultError } from "../errors.ts";

// 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z. [google/protobuf/timestamp.proto]
const timestampSecondsMin = -62_135_596_800n;
const timestampSecondsMax = 253_402_300_799n;
// About 10,000 years. [google/protobuf/duration.proto]
const durationSecondsMax = 315_576_000_000n;
const nanosMax = 999_999_999;
const nanosPerMs = 1_000_000;

/** A refusal of a field. */
export function invalidField(field: string, problem: string): VaultError {
  return new VaultError("invalid", `${field}: ${problem}`, { field });
}

/** A point in time of the vault as a message. `timestamp` is in milliseconds since 1970. */
export function toTimestamp(timestamp: number): Timestamp {
  const seconds = Math.floor(timestamp / 1000);
  return create(TimestampSchema, { seconds: BigInt(seconds), nanos: (timestamp - seconds * 1000) * nanosPerMs });
}

/**
 * A bound in time, in milliseconds since 1970. Rounded up, as records at or after it are meant and theirs are whole
 * milliseconds. What lies before 1970 is 0: the vault has no records from then.
 */
export function readTimestamp(timestamp: Timestamp, field: string): number {
  const { seconds, nanos } = timestamp;
  if (seconds < timestampSecondsMin || seconds > timestampSecondsMax) {
    throw invalidField(field, "a timestamp lies between the years 1 and 9999");
  }
  if (nanos < 0 || nanos > nanosMax) throw invalidField(field, `nanos go from 0 to ${nanosMax}`);
  return Math.max(0, Number(seconds) * 1000 + Math.ceil(nanos / nanosPerMs));
}

/** A length of time as a message. */
export function toDuration(lengthMs: number): Duration {
  const seconds = Math.floor(lengthMs / 1000);
  return create(DurationSchema, { seconds: BigInt(seconds), nanos: (lengthMs - seconds * 1000) * nanosPerMs });
}

/** A length of time that is not negative, in milliseconds. Rounded up, so that only zero is zero. */
export function readDuration(duration: Duration, field: string): number {
  const { seconds, nanos } = duration;
  if (seconds < 0n || nanos < 0) throw invalidField(field, "a duration here is not negative");
  if (seconds > durationSecondsMax) throw invalidField(field, `a duration has at most ${durationSecondsMax} seconds`);
  if (nanos > nanosMax) throw invalidField(field, `nanos go from 0 to ${nanosMax}`);
  return Number(seconds) * 1000 + Math.ceil(nanos / nanosPerMs);
}

/** A size in bytes. */
export function readSize(size: bigint, field: string): number {
  if (size > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw invalidField(field, `a size is at most ${Number.MAX_SAFE_INTEGER} bytes`);
  }
  return Number(size);
}
