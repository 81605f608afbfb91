import { pino } from "pino";
import { blotSecrets } from "./log.ts";
import type { Log, LogFields, LogFormat, LogLevel, LogOutput } from "./log.ts";

/** The trace and span that an event belongs to, in hexadecimal digits. */
export interface TraceIds {
  readonly traceId: string;
  readonly spanId: string;
}

/**
 * Makes a log. `output` gets whole lines, each with its line feed. `currentTrace` tells of the span within which the
 * event is logged: its ids stand in the line as `trace_id` and `span_id`, the names that OpenTelemetry gives them in
 * formats that are not its own. [opentelemetry.io: Trace Context in non-OTLP Log Formats]
 */
export function createLog(
  level: LogLevel,
  format: LogFormat,
  output: LogOutput,
  currentTrace: () => TraceIds | undefined = () => undefined,
): Log {
  const destination = format === "json" ? output : { write: (line: string) => output.write(toText(line)) };
  const logger = pino(
    {
      level,
      messageKey: "event",
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    destination,
  );
  const logAt =
    (level: keyof Log) =>
    (event: string, fields: LogFields = {}) => {
      if (logger.isLevelEnabled(level)) logger[level]({ ...printFields(fields), ...printTrace(currentTrace()) }, event);
    };
  return { debug: logAt("debug"), info: logAt("info"), warn: logAt("warn"), error: logAt("error") };
}

function printTrace(trace: TraceIds | undefined): LogFields {
  return trace === undefined ? {} : { trace_id: trace.traceId, span_id: trace.spanId };
}

// How deep fields and chains of causes are followed: what bites its tail must not hang the log.
const depthMax = 5;

// Whatever stands in a field of such a name is a secret, whatever it looks like.
const secretName = /authorization|password|secret|token|signature|account_?key|api[-_]?key|connection_?string|cookie/i;

function printFields(fields: object, depth = 0): LogFields {
  const print = ([name, value]: [string, unknown]) => [name, secretName.test(name) ? "***" : printValue(value, depth)];
  return Object.fromEntries(Object.entries(fields).map(print));
}

function printValue(value: unknown, depth: number): unknown {
  if (typeof value === "string") return blotSecrets(value);
  if (typeof value === "bigint") return value.toString();
  if (typeof value !== "object" || value === null) return value;
  // Keys, values and headers of records are their publishers', and none of the log's.
  if (ArrayBuffer.isView(value)) return `${value.byteLength} bytes`;
  if (depth >= depthMax) return "…";
  if (value instanceof Error) return describeError(value, depth);
  if (Array.isArray(value)) return value.map((item) => printValue(item, depth + 1));
  return printFields(value, depth + 1);
}

function describeError(error: Error, depth: number): LogFields {
  const kind = "kind" in error ? { kind: error.kind } : {};
  const detail = "detail" in error && isFilled(error.detail) ? { detail: printFields(error.detail, depth + 1) } : {};
  // An error of operation says all in its message; any other is a fault of ours, and where it arose is what helps.
  const stack = "kind" in error || error.stack === undefined ? {} : { stack: blotSecrets(error.stack) };
  const cause =
    error.cause instanceof Error && depth < depthMax ? { cause: describeError(error.cause, depth + 1) } : {};
  return { name: error.name, ...kind, message: blotSecrets(error.message), ...detail, ...cause, ...stack };
}

function isFilled(value: unknown): value is object {
  return typeof value === "object" && value !== null && Object.keys(value).length > 0;
}

function toText(line: string): string {
  const { level, time, event, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const shown = Object.entries(fields).map(([name, value]) => ` ${name}=${fieldText(value)}`);
  return `${String(time).slice(11, 23)} ${String(level).toUpperCase().padEnd(5)} ${String(event)}${shown.join("")}\n`;
}

function fieldText(value: unknown): string {
  if (typeof value === "string") return /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value);
  if (isErrorText(value)) return JSON.stringify(value.stack ?? value.message);
  return JSON.stringify(value);
}

function isErrorText(value: unknown): value is { message: string; stack?: string } {
  return typeof value === "object" && value !== null && "message" in value && typeof value.message === "string";
}
