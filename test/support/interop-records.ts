import { createHash } from "node:crypto";

/** A record in protobuf's JSON form, as the examples read and print it: what is zero or empty may be left out. */
export interface JsonRecord {
  readonly offset?: string;
  readonly timestamp?: string;
  readonly key?: string;
  readonly value?: string;
  readonly headers?: readonly { readonly name?: string; readonly value?: string }[];
  readonly eventTime?: string;
}

/** The largest value of a record that has nothing else: 1 MiB with its tag and length. */
const largestValueBytes = 1024 * 1024 - 4;

/** Records at the edges of what is allowed. */
export function edgeRecords(): JsonRecord[] {
  const allBytes = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
  const largest = Buffer.alloc(largestValueBytes);
  for (let i = 0; i < largest.length; i++) largest[i] = (i * 31) % 251;
  const text = "κόσμε 世界 👋🏽 \u0000 \u2028 \uFFFD";
  return [
    {},
    { key: encode(Buffer.alloc(1024, 0xff)) },
    { value: encode(allBytes), key: encode(allBytes) },
    { value: encode(Buffer.from(text)), key: encode(Buffer.from(text)) },
    { value: encode(largest) },
    { headers: [{}, { name: "a", value: "" }, { name: "a", value: encode(allBytes) }, { name: text }] },
    { value: encode(Buffer.from("when")), eventTime: "1969-12-31T23:59:59.999Z" },
    { value: encode(Buffer.from("when")), eventTime: "2026-01-02T03:04:05.678Z" },
    { value: encode(largest), headers: [] },
  ];
}

/** A small record. */
export function smallRecord(index: number): JsonRecord {
  const headers = [{ name: "index", value: encode(Buffer.from(String(index))) }];
  return { key: encode(Buffer.from(`key-${index % 7}`)), value: encode(Buffer.from(`value ${index}`)), headers };
}

/** What tells a record's own data from another's, however it is written; the offset and timestamp are the vault's. */
export function digestRecord(record: JsonRecord): string {
  const headers = (record.headers ?? []).map(({ name = "", value = "" }) => [name, normalize(value)]);
  const eventTime = record.eventTime === undefined ? null : new Date(record.eventTime).getTime();
  const parts = [normalize(record.key), normalize(record.value), headers, eventTime];
  return createHash("sha256").update(JSON.stringify(parts)).digest("base64");
}

function encode(bytes: Buffer): string {
  return bytes.toString("base64");
}

function normalize(base64 = ""): string {
  return encode(Buffer.from(base64, "base64"));
}
