/** Input, cut into records. Pieces come many at a time: a wait for each would cost more than the rest. */
import { VaultError } from "../errors.ts";
import { MalformedError, WireCursor } from "../segment/wire.ts";

/** The longest line or record that is read: the vault stores none that is larger. */
export const pieceBytesMax = 4 * 1024 * 1024;

/** How input is read. */
export interface InputOptions {
  /** What it is called in messages: "standard input" where absent. */
  readonly name?: string;
  /** The longest piece: `pieceBytesMax` where absent. */
  readonly bytesMax?: number;
  /** A last piece that is cut short is no error, but left out: a line without its line feed too. */
  readonly dropTorn?: boolean;
  /** Hears before each yield how many bytes its pieces took, with what delimits them. */
  readonly counted?: (usedBytes: number) => void;
}

const lineFeed = 0x0a;
const nameDefault = "standard input";

/** Yields the lines of `input`, without their line feeds. A last line needs none. Throws `invalid` for one too long. */
export async function* readLines(
  input: AsyncIterable<Uint8Array | string>,
  options: InputOptions = {},
): AsyncGenerator<Uint8Array[]> {
  let lineNumber = 1;
  for await (const pieces of cut(input, cutLines, () => `line ${lineNumber}`, options)) {
    lineNumber += pieces.length;
    yield pieces;
  }
}

/** Yields the protobuf messages of `input`, each behind its length as a varint. Throws `invalid` for anything else. */
export async function* readDelimited(
  input: AsyncIterable<Uint8Array | string>,
  options: InputOptions = {},
): AsyncGenerator<Uint8Array[]> {
  const { name = nameDefault } = options;
  let recordNumber = 1;
  const cutter = (bytes: Buffer) => cutDelimited(bytes, name);
  for await (const pieces of cut(input, cutter, () => `record ${recordNumber}`, options)) {
    recordNumber += pieces.length;
    yield pieces;
  }
}

/** What was found in the bytes so far: whole pieces, and how many bytes they took. */
interface Cut {
  readonly pieces: Uint8Array[];
  readonly usedBytes: number;
}

type Cutter = (bytes: Buffer, searchedBytes: number, atEnd: boolean) => Cut;

async function* cut(
  input: AsyncIterable<Uint8Array | string>,
  cutter: Cutter,
  pieceName: () => string,
  { name = nameDefault, bytesMax = pieceBytesMax, dropTorn = false, counted }: InputOptions,
): AsyncGenerator<Uint8Array[]> {
  const fail = (what: string): never => {
    throw new VaultError("invalid", `${pieceName()} of ${name} ${what}`);
  };
  let kept: Buffer[] = [];
  let keptBytes = 0;
  for await (const chunk of input) {
    const next =
      typeof chunk === "string" ? Buffer.from(chunk) : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
    const searchedBytes = keptBytes;
    const bytes = keptBytes === 0 ? next : Buffer.concat([...kept, next]);
    const { pieces, usedBytes } = cutter(bytes, searchedBytes, false);
    const rest = bytes.subarray(usedBytes);
    kept = [rest];
    keptBytes = rest.length;
    if (pieces.length > 0) {
      counted?.(usedBytes);
      yield pieces;
    }
    if (keptBytes > bytesMax) fail(`is longer than ${bytesMax} bytes`);
  }
  if (keptBytes === 0 || dropTorn) return;
  const { pieces, usedBytes } = cutter(Buffer.concat(kept), keptBytes, true);
  if (usedBytes < keptBytes) fail("is cut short: the input ends within it");
  counted?.(usedBytes);
  yield pieces;
}

function cutLines(bytes: Buffer, searchedBytes: number, atEnd: boolean): Cut {
  const pieces: Uint8Array[] = [];
  let start = 0;
  for (let end = bytes.indexOf(lineFeed, searchedBytes); end >= 0; end = bytes.indexOf(lineFeed, start)) {
    pieces.push(bytes.subarray(start, end));
    start = end + 1;
  }
  if (!atEnd || start === bytes.length) return { pieces, usedBytes: start };
  return { pieces: [...pieces, bytes.subarray(start)], usedBytes: bytes.length };
}

function cutDelimited(bytes: Buffer, name: string): Cut {
  const pieces: Uint8Array[] = [];
  const cursor = new WireCursor(bytes);
  let usedBytes = 0;
  while (cursor.position < bytes.length) {
    const sizeBytes = readLength(cursor, name);
    if (sizeBytes === undefined || sizeBytes > bytes.length - cursor.position) break;
    usedBytes = cursor.position + sizeBytes;
    pieces.push(bytes.subarray(cursor.position, usedBytes));
    cursor.position = usedBytes;
  }
  return { pieces, usedBytes };
}

// Undefined where the length itself is not all there yet.
function readLength(cursor: WireCursor, name: string): number | undefined {
  try {
    const sizeBytes = cursor.readVarint();
    if (sizeBytes <= pieceBytesMax) return sizeBytes;
  } catch (error) {
    if (error instanceof MalformedError && cursor.position >= cursor.end) return undefined;
  }
  throw new VaultError("invalid", `${name} is not a run of Record messages, each behind its length as a varint`);
}
