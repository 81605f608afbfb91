import { isUtf8 } from "node:buffer";
import { VaultError } from "../errors.ts";
import { BatchReader, type RecordLimits } from "../segment/batch.ts";
import { MalformedError, WireCursor } from "../segment/wire.ts";
import type { PublishCommand } from "../stream/commands.ts";
import { validateStreamName } from "../stream/names.ts";

/** The most bytes of a producer's id. */
export const producerIdBytesMax = 128;

interface Fields {
  stream: string;
  expectedOffset: bigint | undefined;
  producer: { id: string; sequence: bigint } | undefined;
  incarnation: string | undefined;
}

/**
 * Reads a PublishRequest from its wire bytes, in one pass and without decoding the records. The command keeps `bytes`.
 * Throws `invalid`, naming the field.
 */
export function parsePublishRequest(bytes: Buffer, limits: RecordLimits): PublishCommand {
  const fields: Fields = { stream: "", expectedOffset: undefined, producer: undefined, incarnation: undefined };
  const records = new BatchReader(bytes, limits);
  const cursor = new WireCursor(bytes);
  try {
    while (cursor.position < cursor.end) {
      const fieldStart = cursor.position;
      const tag = cursor.readVarint();
      if (tag === 0x12) {
        const length = cursor.readLength();
        const start = cursor.position;
        records.add(fieldStart, start, start + length);
        cursor.position = start + length;
      } else {
        readField(cursor, tag, fields);
      }
    }
  } catch (error) {
    if (error instanceof MalformedError) throw new VaultError("invalid", `the request is malformed: ${error.message}`);
    throw error;
  }
  validateStreamName(fields.stream, "stream");
  validateProducer(fields.producer);
  return { ...fields, batch: records.finish(fields.producer !== undefined) };
}

function readField(cursor: WireCursor, tag: number, fields: Fields): void {
  switch (tag) {
    case 0x0a:
      fields.stream = readString(cursor, "stream");
      return;
    case 0x18:
      fields.expectedOffset = cursor.readVarint64();
      return;
    case 0x22:
      fields.producer = readProducer(cursor, fields.producer);
      return;
    case 0x2a:
      fields.incarnation = readString(cursor, "incarnation") || undefined;
      return;
    default: {
      const field = Math.floor(tag / 8);
      if (field === 0 || field <= 5) throw new MalformedError(`field ${field} has the wrong type`);
      cursor.skip(tag & 7);
    }
  }
}

/** As everywhere in protobuf, a message that comes twice is merged. */
function readProducer(cursor: WireCursor, known: Fields["producer"]): { id: string; sequence: bigint } {
  const producer = known ?? { id: "", sequence: 0n };
  const outerEnd = cursor.end;
  const end = cursor.readLength() + cursor.position;
  cursor.end = end;
  while (cursor.position < end) {
    const tag = cursor.readVarint();
    if (tag === 0x0a) producer.id = readString(cursor, "producer.id");
    else if (tag === 0x10) producer.sequence = cursor.readVarint64();
    else if (tag < 0x18) throw new MalformedError("producer has a field of the wrong type");
    else cursor.skip(tag & 7);
  }
  cursor.end = outerEnd;
  return producer;
}

function readString(cursor: WireCursor, field: string): string {
  const length = cursor.readLength();
  const bytes = cursor.bytes.subarray(cursor.position, cursor.position + length);
  if (!isUtf8(bytes)) throw new VaultError("invalid", `${field} is not valid UTF-8`, { field });
  cursor.position += length;
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8");
}

function validateProducer(producer: Fields["producer"]): void {
  if (producer === undefined) return;
  const idBytes = Buffer.byteLength(producer.id);
  if (idBytes < 1 || idBytes > producerIdBytesMax) {
    const message = `producer.id is ${idBytes} bytes, it must have 1 to ${producerIdBytesMax}`;
    throw new VaultError("invalid", message, { field: "producer.id" });
  }
}
