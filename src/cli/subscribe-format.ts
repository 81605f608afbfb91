import type { Delivery } from "../client/delivery.ts";
import { cutRecords } from "../client/delivery.ts";
import type { StreamRecord } from "../client/stream-record.ts";
import { varintBytes, writeVarint } from "../segment/wire.ts";
import { describeTime } from "./describe.ts";

/** How records are printed. */
export type RecordFormat = "text" | "lines" | "json" | "raw";

/** A function that makes of a delivery what is printed. */
export type Formatter = (delivery: Delivery) => string | Uint8Array;

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Finds the function for a format. */
export function findFormatter(format: RecordFormat): Formatter {
  switch (format) {
    case "text":
      return (delivery) => delivery.records.map(toText).join("");
    case "lines":
      return (delivery) => Buffer.concat(delivery.records.flatMap(({ value }) => [value, lineFeed]));
    case "json":
      return (delivery) => delivery.records.map(toJson).join("");
    case "raw":
      return toDelimited;
  }
}

const lineFeed = Buffer.from("\n");

// OFFSET  TIME  KEY  VALUE; what a terminal would obey is shown escaped.
function toText(record: StreamRecord): string {
  const time = describeTime(record.timestamp);
  const key = record.key.length === 0 ? "" : `  ${toPrintable(record.key)}`;
  return `${record.offset}  ${time}${key}  ${toPrintable(record.value)}\n`;
}

function toPrintable(bytes: Uint8Array): string {
  const text = decodeText(bytes);
  if (text === undefined) return `base64:${Buffer.from(bytes).toString("base64")}`;
  // oxlint-disable-next-line no-control-regex
  return text.replace(/[\x00-\x08\x0a-\x1f\x7f-\x9f]/g, (character) => JSON.stringify(character).slice(1, -1));
}

function toJson(record: StreamRecord): string {
  const headers = record.headers.map(({ name, value }) => ({ name, ...toJsonBytes("value", value) }));
  const fields = {
    offset: record.offset.toString(),
    timestamp: describeTime(record.timestamp),
    ...(record.key.length === 0 ? {} : toJsonBytes("key", record.key)),
    ...toJsonBytes("value", record.value),
    ...(headers.length === 0 ? {} : { headers }),
    ...(record.eventTime === undefined ? {} : { event_time: describeTime(record.eventTime) }),
  };
  return `${JSON.stringify(fields)}\n`;
}

// UTF-8 as a string; anything else in base64, under a name that says so.
function toJsonBytes(name: string, bytes: Uint8Array): Record<string, string> {
  const text = decodeText(bytes);
  return text === undefined ? { [`${name}_base64`]: Buffer.from(bytes).toString("base64") } : { [name]: text };
}

function decodeText(bytes: Uint8Array): string | undefined {
  try {
    return utf8.decode(bytes);
  } catch {
    return undefined;
  }
}

// Each Record message behind its length as a varint: the bytes as they were received.
function toDelimited(delivery: Delivery): Uint8Array {
  const parts: Uint8Array[] = [];
  for (const record of cutRecords(delivery.bytes)) {
    const length = Buffer.allocUnsafe(varintBytes(record.length));
    writeVarint(length, 0, record.length);
    parts.push(length, record);
  }
  return Buffer.concat(parts);
}
