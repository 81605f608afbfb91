/**
 * The little of the protobuf wire format that is needed to check, cut and write records without making objects.
 *
 * Encoding: https://protobuf.dev/programming-guides/encoding/
 */

/** Wire bytes that are no protobuf encoding. Whoever walks them adds which field it was. */
export class MalformedError extends Error {}

/** A place in wire bytes, up to an end that nothing may cross. */
export class WireCursor {
  readonly bytes: Uint8Array;
  position: number;
  end: number;

  constructor(bytes: Uint8Array, position = 0, end = bytes.length) {
    this.bytes = bytes;
    this.position = position;
    this.end = end;
  }

  /**
   * Reads a varint below 2^32 of at most 5 bytes: for tags and lengths. MalformedError for others, as other decoders
   * refuse longer ones though their value be small.
   */
  readVarint(): number {
    const { bytes, position, end } = this;
    // Tags have one byte, and most lengths no more than two.
    if (position + 1 < end) {
      const first = bytes[position]!;
      if (first < 0x80) {
        this.position = position + 1;
        return first;
      }
      const second = bytes[position + 1]!;
      if (second < 0x80) {
        this.position = position + 2;
        return (first & 0x7f) | (second << 7);
      }
    }
    return this.readLongVarint();
  }

  private readLongVarint(): number {
    let value = 0;
    let factor = 1;
    for (let i = 0; i < 5; i++) {
      const byte = this.position < this.end ? this.bytes[this.position++]! : truncated();
      value += (byte & 0x7f) * factor;
      if (byte < 0x80 && value <= 0xffffffff) return value;
      factor *= 0x80;
    }
    throw new MalformedError("a tag or length is too large");
  }

  /** Reads a varint of up to 64 bits. */
  readVarint64(): bigint {
    // Most fit into a number, which is much cheaper to put together.
    const start = this.position;
    let low = 0;
    for (let factor = 1; factor < 2 ** 49 && this.position < this.end; factor *= 0x80) {
      const byte = this.bytes[this.position++]!;
      low += (byte & 0x7f) * factor;
      if (byte < 0x80) return BigInt(low);
    }
    this.position = start;
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.position < this.end ? this.bytes[this.position++]! : truncated();
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt.asUintN(64, value);
    }
    throw new MalformedError("a varint is longer than 10 bytes");
  }

  /** Reads a length and checks that so many bytes follow. */
  readLength(): number {
    const length = this.readVarint();
    if (length > this.end - this.position) throw new MalformedError("a length goes beyond the end");
    return length;
  }

  /** Passes over the value of a field of this wire type. Groups are refused: proto3 has none. */
  skip(wireType: number): void {
    switch (wireType) {
      case 0:
        this.skipVarint();
        return;
      case 1:
        this.skipBytes(8);
        return;
      case 2:
        this.skipBytes(this.readLength());
        return;
      case 5:
        this.skipBytes(4);
        return;
      default:
        throw new MalformedError(`wire type ${wireType} is not allowed`);
    }
  }

  private skipVarint(): void {
    for (let i = 0; i < 10; i++) {
      const byte = this.position < this.end ? this.bytes[this.position++]! : truncated();
      if (byte < 0x80) return;
    }
    throw new MalformedError("a varint is longer than 10 bytes");
  }

  private skipBytes(count: number): void {
    if (count > this.end - this.position) truncated();
    this.position += count;
  }
}

/** How many bytes `value` takes as a varint. `value`: 0 to 2^53 − 1. */
export function varintBytes(value: number): number {
  if (value < 0x80) return 1;
  if (value < 0x4000) return 2;
  let count = 3;
  for (let limit = 0x200000; value >= limit; limit *= 0x80) count++;
  return count;
}

/** Writes `value` (0 to 2^53 − 1) as a varint and returns the position behind it. */
export function writeVarint(target: Uint8Array, position: number, value: number): number {
  let rest = value;
  let at = position;
  while (rest > 0x7fffffff) {
    target[at++] = (rest % 0x80) | 0x80;
    rest = Math.floor(rest / 0x80);
  }
  while (rest >= 0x80) {
    target[at++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  target[at++] = rest;
  return at;
}

function truncated(): never {
  throw new MalformedError("the bytes end too early");
}
