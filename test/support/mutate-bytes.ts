/** Makes bad requests of good ones. */

/** Bytes that begin lengths, tags and numbers which make no sense. */
const absurd = [
  [0xff, 0xff, 0xff, 0xff, 0x0f],
  [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
  [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
  [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80],
  [0x0b],
  [0x0c],
  [0x07],
  [0x00],
  [0x12, 0x80, 0x80, 0x80, 0x80, 0x04],
  [0xc3, 0x28],
  [0xed, 0xa0, 0x80],
].map((bytes) => Buffer.from(bytes));

/** Changes `good` in one to four places, or altogether. `others` are good bytes of other kinds, to be mixed in. */
export function mutateBytes(good: Uint8Array, others: readonly Uint8Array[], random: () => number): Buffer {
  let bytes: Buffer = Buffer.from(good);
  const changes = 1 + Math.floor(random() * 4);
  for (let change = 0; change < changes; change++) bytes = mutateOnce(bytes, others, random);
  return bytes;
}

function mutateOnce(bytes: Buffer, others: readonly Uint8Array[], random: () => number): Buffer {
  const at = Math.floor(random() * (bytes.length + 1));
  const end = at + Math.floor(random() * (bytes.length - at + 1));
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)]!;
  switch (Math.floor(random() * 9)) {
    case 0: // one bit
      if (at < bytes.length) bytes[at]! ^= 1 << Math.floor(random() * 8);
      return bytes;
    case 1: // one byte
      if (at < bytes.length) bytes[at] = Math.floor(random() * 256);
      return bytes;
    case 2: // the end is missing
      return bytes.subarray(0, at);
    case 3: // a piece is missing
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(end)]);
    case 4: // a piece comes twice
      return Buffer.concat([bytes.subarray(0, end), bytes.subarray(at)]);
    case 5: // something absurd in the middle
      return Buffer.concat([bytes.subarray(0, at), pick(absurd), bytes.subarray(at)]);
    case 6: // another message's bytes in the middle
      return Buffer.concat([bytes.subarray(0, at), pick(others), bytes.subarray(at)]);
    case 7: // another message altogether
      return Buffer.from(pick(others));
    default: // no message at all
      return randomBytes(Math.floor(random() * 200), random);
  }
}

/** Any bytes, the same for the same state of `random`. */
export function randomBytes(count: number, random: () => number): Buffer {
  return Buffer.from(Array.from({ length: count }, () => Math.floor(random() * 256)));
}
