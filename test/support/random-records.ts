import type { RecordInit } from "./publish-records.ts";

/** Makes up to `countMax` records of every kind, the same for the same random numbers. */
export function randomRecords(random: () => number, countMax: number, valueBytesMax = 2000): RecordInit[] {
  return Array.from({ length: 1 + below(random, countMax) }, () => randomRecord(random, valueBytesMax));
}

/** A whole number from 0 (inclusive) to `limit` (exclusive). */
export function below(random: () => number, limit: number): number {
  return Math.floor(random() * limit);
}

/** Random bytes, up to `bytesMax` of them. */
export function randomBytesOf(random: () => number, bytesMax: number): Buffer {
  return Buffer.from(Array.from({ length: below(random, bytesMax + 1) }, () => below(random, 256)));
}

function randomRecord(random: () => number, valueBytesMax: number): RecordInit {
  const record: RecordInit = {};
  if (random() < 0.7) record.value = randomBytesOf(random, random() < 0.9 ? 40 : valueBytesMax);
  if (random() < 0.5) record.key = randomBytesOf(random, 20);
  if (random() < 0.4) record.headers = Array.from({ length: below(random, 4) }, () => randomHeader(random));
  if (random() < 0.3)
    record.eventTime = { seconds: BigInt(below(random, 2 ** 33) - 2 ** 32), nanos: below(random, 1e9) };
  return record;
}

function randomHeader(random: () => number) {
  const names = ["traceparent", "", "größe", "名前", "\u{1f980}", "a".repeat(200)];
  return { name: names[below(random, names.length)]!, value: randomBytesOf(random, 30) };
}
