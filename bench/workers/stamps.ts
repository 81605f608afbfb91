/** Records that carry a number, and finding it again in what a subscription gets, without decoding records. */
import { WireCursor } from "../../src/segment/wire.ts";
import { encodePublishRequest } from "../requests.ts";

const marker = 0x6d763a31;

/** The first bytes of a stamped value: a marker, and the number. */
const stampBytes = 8;

/** Makes publish requests of which every record's value begins with the number that is given. */
export function createStamper(stream: string, records: number, recordBytes: number): (stamp: number) => Buffer {
  const template = encodePublishRequest(stream, records, recordBytes);
  const positions = findValues(template, 2);
  for (const position of positions) template.writeUInt32LE(marker, position);
  return (stamp) => {
    const request = Buffer.from(template);
    for (const position of positions) request.writeUInt32LE(stamp, position + 4);
    return request;
  };
}

/** The numbers in the records of a subscription's response, in their order; records without one are passed over. */
export function readStamps(response: Buffer): number[] {
  return findValues(response, 1)
    .filter((position) => position + stampBytes <= response.length && response.readUInt32LE(position) === marker)
    .map((position) => response.readUInt32LE(position + 4));
}

const lengthDelimited = 2;
const valueField = 4;

/** Where the values lie of the records that are field `recordsField` of a message. */
function findValues(message: Buffer, recordsField: number): number[] {
  const cursor = new WireCursor(message);
  const positions: number[] = [];
  while (cursor.position < message.length) {
    const tag = cursor.readVarint();
    if (tag === ((recordsField << 3) | lengthDelimited)) findValue(cursor, positions);
    else cursor.skip(tag & 7);
  }
  return positions;
}

/** Passes over a record, noting where its value begins. */
function findValue(cursor: WireCursor, positions: number[]): void {
  const length = cursor.readLength();
  const end = cursor.position + length;
  while (cursor.position < end) {
    const tag = cursor.readVarint();
    if (tag !== ((valueField << 3) | lengthDelimited)) {
      cursor.skip(tag & 7);
      continue;
    }
    const valueLength = cursor.readLength();
    if (valueLength >= stampBytes) positions.push(cursor.position);
    cursor.position += valueLength;
  }
}
