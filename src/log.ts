import { pino } from "pino";
import type { Logger } from "pino";

/** How much is logged: everything from this level up. */
export type LogLevel = "debug" | "info" | "warn" | "error" | "silent";

/** What goes along with an event, by name. An `error` field may hold anything that was thrown. */
export type LogFields = Readonly<Record<string, unknown>>;

/**
 * Where events are logged. An event is a short constant phrase, so that it can be searched for and counted; what
 * varies stands in the fields. Secrets that storage settings can hold are blotted out of every string.
 */
export interface Log {
  debug(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
}

/** How a log looks: one JSON object a line, or a line to be read by a person. */
export type LogFormat = "json" | "text";

/** Where the lines go: standard error, or what a test collects. */
export interface LogOutput {
  write(line: string): unknown;
}

/** A log that keeps nothing. */
export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {} };

/** Makes a log. `output` gets whole lines, each with its line feed. */
export function createLog(level: LogLevel, format: LogFormat, output: LogOutput): Log {
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
  return {
    debug: (event, fields) => write(logger, "debug", event, fields),
    info: (event, fields) => write(logger, "info", event, fields),
    warn: (event, fields) => write(logger, "warn", event, fields),
    error: (event, fields) => write(logger, "error", event, fields),
  };
}

function write(logger: Logger, level: "debug" | "info" | "warn" | "error", event: string, fields: LogFields = {}) {
  if (logger.isLevelEnabled(level)) {
    const printable = Object.entries(fields).map(([name, value]) => [name, toPrintable(value)]);
    logger[level](Object.fromEntries(printable), event);
  }
}

function toPrintable(value: unknown): unknown {
  if (typeof value === "string") return blotSecrets(value);
  if (typeof value === "bigint") return value.toString();
  if (value instanceof Error) return describeError(value);
  return value;
}

// How deep a chain of causes is followed: a chain that bites its tail must not hang the log.
const causesMax = 5;

function describeError(error: Error, depth = 0): Record<string, unknown> {
  const kind = "kind" in error ? { kind: error.kind } : {};
  const detail = "detail" in error && isFilled(error.detail) ? { detail: error.detail } : {};
  // An error of operation says all in its message; any other is a fault of ours, and where it arose is what helps.
  const stack = "kind" in error || error.stack === undefined ? {} : { stack: blotSecrets(error.stack) };
  const cause =
    error.cause instanceof Error && depth < causesMax ? { cause: describeError(error.cause, depth + 1) } : {};
  return { name: error.name, ...kind, message: blotSecrets(error.message), ...detail, ...cause, ...stack };
}

function isFilled(value: unknown): boolean {
  return typeof value === "object" && value !== null && Object.keys(value).length > 0;
}

const secret =
  /((?:AccountKey|SharedAccessSignature|sharedaccesskey)=)[^;\s"]+|([?&]sig=)[^&\s"]+|(authorization: ?\w+ )\S+/gi;

/** Blots account keys, signatures and authorization headers out of a text. */
export function blotSecrets(text: string): string {
  return text.replace(secret, (_match, key = "", signature = "", header = "") => `${key}${signature}${header}***`);
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
