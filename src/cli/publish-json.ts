import type { RecordInput } from "../client/batch-builder.ts";
import { VaultError } from "../errors.ts";
import { findTimestamp } from "./parse.ts";

/** Which fields of a JSON line become what. Names may be paths: `user.id`. */
export interface JsonFields {
  /** The stream's name, where no stream is named on the command line. */
  readonly streamField: string | undefined;
  readonly keyField: string | undefined;
  /** The record's value; the whole line where absent. */
  readonly valueField: string | undefined;
  readonly headerFields: readonly string[];
  readonly timeField: string | undefined;
}

/** A record with the stream that it goes to. */
export interface RoutedRecord {
  readonly stream: string;
  readonly record: RecordInput;
}

// Numbers from here on are milliseconds since 1970: as seconds they would be in the year 5138.
const firstMs = 1e11;

/**
 * Makes a record of a JSON line. `stream` is where it goes if no field says. Throws `invalid` for what is no JSON object,
 * or lacks a field that is needed; `lineNumber` is for the message.
 */
export function toRoutedRecord(
  line: Uint8Array,
  lineNumber: number,
  fields: JsonFields,
  stream: string | undefined,
): RoutedRecord {
  const event = parseObject(line, lineNumber);
  const need = (field: string) => {
    const value = findField(event, field);
    if (value === undefined || value === null) fail(lineNumber, `has no field ${field}`);
    return value;
  };
  const { streamField, keyField, valueField, headerFields, timeField } = fields;
  const target = streamField === undefined ? stream : toText(need(streamField));
  if (target === undefined) fail(lineNumber, "has no stream to go to: name one, or give --stream-field");
  const record: RecordInput = {
    value: valueField === undefined ? line : toText(need(valueField)),
    key: keyField === undefined ? undefined : toText(findField(event, keyField) ?? ""),
    headers: headerFields.flatMap((name) => toHeaders(name, findField(event, name))),
    eventTime: timeField === undefined ? undefined : toEventTime(need(timeField), timeField, lineNumber),
  };
  return { stream: target, record };
}

function parseObject(line: Uint8Array, lineNumber: number): Record<string, unknown> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(Buffer.from(line.buffer, line.byteOffset, line.length).toString());
  } catch (error) {
    fail(lineNumber, `is no JSON: ${error instanceof Error ? error.message : ""}`);
  }
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) fail(lineNumber, "is no JSON object");
  return parsed as Record<string, unknown>;
}

// A field of just this name comes first, then the path.
function findField(event: Record<string, unknown>, field: string): unknown {
  if (Object.hasOwn(event, field)) return event[field];
  let found: unknown = event;
  for (const name of field.split(".")) {
    if (typeof found !== "object" || found === null || !Object.hasOwn(found, name)) return undefined;
    found = (found as Record<string, unknown>)[name];
  }
  return found;
}

// One header for each item of a list: repeats are allowed.
function toHeaders(name: string, value: unknown) {
  if (value === undefined || value === null) return [];
  const items: unknown[] = Array.isArray(value) ? value : [value];
  return items.map((item) => ({ name, value: toText(item) }));
}

function toText(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

function toEventTime(value: unknown, field: string, lineNumber: number): number {
  if (typeof value === "number") return Math.round(Math.abs(value) < firstMs ? value * 1000 : value);
  const timestamp = typeof value === "string" ? findTimestamp(value) : undefined;
  if (timestamp !== undefined) return timestamp;
  fail(lineNumber, `has a ${field} that is neither a number (seconds or milliseconds since 1970) nor an RFC 3339 time`);
}

function fail(lineNumber: number, what: string): never {
  throw new VaultError("invalid", `line ${lineNumber} of standard input ${what}`);
}
