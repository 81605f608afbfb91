import type { Delivery } from "../client/delivery.ts";
import { cutRecords } from "../client/delivery.ts";
import type { StreamRecord } from "../client/stream-record.ts";
import { writeVarint } from "../segment/wire.ts";
import { describeTime } from "./describe.ts";
import { toRecordLine } from "./record-json.ts";

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
      return (delivery) => Array.from(cutRecords(delivery.bytes), toRecordLine).join("");
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

function decodeText(bytes: Uint8Array): string | undefined {
  try {
    return utf8.decode(bytes);
  } catch {
    return undefined;
  }
}

/** Each Record message behind its length as a varint: the bytes as they were received, without the fields' tags. */
export function toDelimited({ bytes }: Delivery): Uint8Array {
  const delimited = Buffer.allocUnsafe(bytes.length);
  let end = 0;
  for (const record of cutRecords(bytes)) {
    end = writeVarint(delimited, end, record.length);
    delimited.set(record, end);
    end += record.length;
  }
  return delimited.subarray(0, end);
}
