/** Arguments as people type them. Each function throws InvalidArgumentError with an example of what is right. */
import { InvalidArgumentError } from "commander";
import type { End, Start, TrimPoint } from "../stream/commands.ts";
import { parseBytes, parseDuration } from "../units.ts";

/** `64MiB`, `4096` → bytes. */
export function parseSize(text: string): number {
  const sizeBytes = parseBytes(text);
  if (sizeBytes === undefined) throw new InvalidArgumentError("Give a size such as 64MiB, 1GiB or 4096.");
  return sizeBytes;
}

/** `500ms`, `30s`, `24h`, `7d` → milliseconds. */
export function parseDelay(text: string): number {
  const delayMs = parseDuration(text);
  if (delayMs === undefined) throw new InvalidArgumentError("Give a duration such as 500ms, 30s, 24h or 7d.");
  return delayMs;
}

/** A whole number from 0. */
export function parseCount(text: string): number {
  const count = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(count)) throw new InvalidArgumentError("Give a whole number.");
  return count;
}

/** A whole number from 1. */
export function parsePositive(text: string): number {
  const count = parseCount(text);
  if (count === 0) throw new InvalidArgumentError("Give a whole number from 1.");
  return count;
}

/** An offset: a whole number from 0 to 2^64 − 1. */
export function parseOffset(text: string): bigint {
  const offset = findOffset(text);
  if (offset === undefined) throw new InvalidArgumentError("Give an offset, such as 42.");
  return offset;
}

/** `earliest`, `latest`, `last:10`, an offset or a timestamp. */
export function parseStart(text: string): Start {
  if (text === "earliest" || text === "latest") return { at: text };
  const last = /^last:(\d+)$/.exec(text)?.[1];
  if (last !== undefined) return { at: "last", count: parseOffset(last) };
  const point = findPoint(text);
  if (point === undefined) {
    throw new InvalidArgumentError(
      "Give earliest, latest, last:10, an offset such as 42, or a timestamp such as 2026-11-22T10:00:00Z.",
    );
  }
  return "offset" in point ? { at: "offset", ...point } : { at: "timestamp", ...point };
}

/** `tail`, `count:10`, an offset or a timestamp. */
export function parseEnd(text: string): End {
  if (text === "tail") return { at: "tail" };
  const count = /^count:(\d+)$/.exec(text)?.[1];
  if (count !== undefined) return { at: "count", count: parseOffset(count) };
  const point = findPoint(text);
  if (point === undefined) {
    throw new InvalidArgumentError(
      "Give tail, count:10, an offset such as 42, or a timestamp such as 2026-11-22T10:00:00Z.",
    );
  }
  return "offset" in point ? { at: "offset", ...point } : { at: "timestamp", ...point };
}

/** `tail`, an offset or a timestamp. */
export function parseBoundary(text: string): End {
  const end = parseEnd(text);
  if (end.at === "count") throw new InvalidArgumentError("Give tail, an offset such as 42, or a timestamp.");
  return end;
}

/** An offset or a timestamp. */
export function parsePoint(text: string): TrimPoint {
  const point = findPoint(text);
  if (point === undefined) {
    throw new InvalidArgumentError("Give an offset such as 42, or a timestamp such as 2026-11-22T10:00:00Z.");
  }
  return point;
}

/** `2026-11-22`, `2026-11-22T10:00:00.5Z`, `2026-11-22T10:00+01:00` → milliseconds since 1970; undefined for what is none. */
export function findTimestamp(text: string): number | undefined {
  const timestamp = /^\d{4}-\d\d-\d\d([T ]\d\d:\d\d|$)/.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(timestamp) ? undefined : timestamp;
}

function findPoint(text: string): TrimPoint | undefined {
  const offset = findOffset(text);
  if (offset !== undefined) return { offset };
  const timestamp = findTimestamp(text);
  return timestamp === undefined ? undefined : { timestamp };
}

function findOffset(text: string): bigint | undefined {
  if (!/^\d{1,20}$/.test(text)) return undefined;
  const offset = BigInt(text);
  return offset < 1n << 64n ? offset : undefined;
}
