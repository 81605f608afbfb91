/** Records in protobuf's JSON form, one a line: bytes in base64, what is empty left out. */
import type { RecordInput, StreamRecord } from "message-vault/client";

interface JsonRecord {
  readonly offset?: string;
  readonly timestamp?: string;
  readonly key?: string;
  readonly value?: string;
  readonly headers?: readonly { readonly name?: string; readonly value?: string }[];
  readonly eventTime?: string;
}

/** The lines of a text, at line feeds alone: `readline` ends them at U+2028 too, which JSON may have in it. */
export async function* readLines(input: NodeJS.ReadStream): AsyncGenerator<string> {
  let rest = "";
  for await (const chunk of input.setEncoding("utf8") as AsyncIterable<string>) {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
  if (rest !== "") yield rest;
}

/** Reads a line. */
export function parseRecord(line: string): RecordInput {
  const { key = "", value = "", headers = [], eventTime } = JSON.parse(line) as JsonRecord;
  return {
    key: fromBase64(key),
    value: fromBase64(value),
    headers: headers.map((header) => ({ name: header.name ?? "", value: fromBase64(header.value ?? "") })),
    eventTime: eventTime === undefined ? undefined : Date.parse(eventTime),
  };
}

/** Writes a line. */
export function formatRecord({ offset, timestamp, key, value, headers, eventTime }: StreamRecord): string {
  const json: JsonRecord = {
    offset: offset.toString(),
    timestamp: new Date(timestamp).toISOString(),
    ...(key.length === 0 ? {} : { key: toBase64(key) }),
    ...(value.length === 0 ? {} : { value: toBase64(value) }),
    ...(headers.length === 0 ? {} : { headers: headers.map(({ name, value }) => ({ name, value: toBase64(value) })) }),
    ...(eventTime === undefined ? {} : { eventTime: new Date(eventTime).toISOString() }),
  };
  return JSON.stringify(json);
}

function fromBase64(text: string): Uint8Array {
  return Buffer.from(text, "base64");
}

function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}
