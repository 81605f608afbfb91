/**
 * The header page of a page blob's file. The blob's own pages follow at `headerBytes`.
 *
 *     0     slot 0 (2,048 bytes)            a slot:  0   magic "mvpages\n"
 *     2048  slot 1 (2,048 bytes)                     8   format version, u32 (1)
 *     4096  the blob's position 0                   12   CRC-32 of what follows, up to the end of the JSON, u32
 *                                                   16   generation, u64
 *                                                   24   length of the JSON, u32
 *                                                   28   JSON: sizeBytes, sequenceNumber, metadata
 *
 * Numbers are little-endian. Generations alternate between the slots: a torn update of one leaves the other, older
 * one. The valid slot with the higher generation counts.
 */
import { crc32 } from "../crc32.ts";

/** Where the blob's own pages begin in the file. */
export const headerBytes = 4096;

/** The length of a slot. */
export const slotBytes = 2048;

const magic = Buffer.from("mvpages\n", "latin1");
const version = 1;

/** What the header says of the blob. */
export interface Header {
  /** Grows with each update of the header. */
  readonly generation: number;
  readonly sizeBytes: number;
  readonly sequenceNumber: number;
  readonly metadata: Readonly<Record<string, string>>;
}

/** A slot's bytes, and where in the file they belong. */
export function encodeSlot(header: Header): { readonly position: number; readonly bytes: Buffer } {
  const { generation, ...content } = header;
  const json = Buffer.from(JSON.stringify(content), "utf8");
  const bytes = Buffer.alloc(slotBytes);
  if (28 + json.length > slotBytes) throw new RangeError("a page blob's header does not fit its slot");
  magic.copy(bytes, 0);
  bytes.writeUInt32LE(version, 8);
  bytes.writeBigUInt64LE(BigInt(generation), 16);
  bytes.writeUInt32LE(json.length, 24);
  json.copy(bytes, 28);
  bytes.writeUInt32LE(crc32(bytes.subarray(16, 28 + json.length)), 12);
  return { position: (generation % 2) * slotBytes, bytes };
}

/** A header page with one slot filled: what a new blob's file begins with. */
export function encodeHeaderPage(header: Header): Buffer {
  const page = Buffer.alloc(headerBytes);
  const { position, bytes } = encodeSlot(header);
  bytes.copy(page, position);
  // The other slot bears the magic too, so that a file is known for a page blob whichever slot is damaged.
  magic.copy(page, slotBytes - position);
  return page;
}

/**
 * The header that a file begins with. Undefined if it is not a page blob's; `damaged` if it was one and neither slot is
 * whole.
 */
export function decodeHeaderPage(page: Uint8Array): Header | "damaged" | undefined {
  const bytes = Buffer.from(page.buffer, page.byteOffset, page.byteLength);
  let newest: Header | undefined;
  let known = false;
  for (const position of [0, slotBytes]) {
    const slot = bytes.subarray(position, position + slotBytes);
    if (!slot.subarray(0, magic.length).equals(magic)) continue;
    known = true;
    const header = decodeSlot(slot);
    if (header !== undefined && header.generation > (newest?.generation ?? -1)) newest = header;
  }
  return newest ?? (known ? "damaged" : undefined);
}

function decodeSlot(slot: Buffer): Header | undefined {
  if (slot.length < slotBytes || slot.readUInt32LE(8) !== version) return undefined;
  const end = 28 + slot.readUInt32LE(24);
  if (end > slotBytes || crc32(slot.subarray(16, end)) !== slot.readUInt32LE(12)) return undefined;
  const content = JSON.parse(slot.toString("utf8", 28, end)) as Omit<Header, "generation">;
  return { generation: Number(slot.readBigUInt64LE(16)), ...content };
}
