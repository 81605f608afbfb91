import test from "ava";
import { decodeAtOnce, MessageDecoder } from "../../src/rpc/message-decoder.ts";

/** A message with its prefix. */
function frame(message: Buffer, flag = 0): Buffer {
  const prefix = Buffer.alloc(5);
  prefix[0] = flag;
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

const frames = [0, 1, 4, 5, 6, 300, 0, 70_000].map((length, i) => frame(Buffer.alloc(length, i + 1), i % 2));
const wire = Buffer.concat(frames);

for (const pieceBytes of [1, 2, 3, 4, 5, 6, 7, 299, 305, 16_384, wire.length]) {
  test(`message decoder - messages come whole, each in memory of its own, from pieces of ${pieceBytes} bytes`, (t) => {
    const decoder = new MessageDecoder(100_000);
    const came: Buffer[] = [];
    for (let at = 0; at < wire.length; at += pieceBytes) {
      const piece = Buffer.from(wire.subarray(at, at + pieceBytes));
      came.push(...decoder.write(piece));
      // Whoever has the piece next may write to it.
      piece.fill(0xff);
    }
    t.deepEqual(came, frames);
    t.true(came.every(({ buffer, byteOffset, length }) => byteOffset === 0 && buffer.byteLength === length));
  });
}

test("message decoder - a message that is too large is refused when its length is known", (t) => {
  const decoder = new MessageDecoder(10);
  t.is(decoder.write(frame(Buffer.alloc(10))).length, 1);
  const large = frame(Buffer.alloc(11));
  t.deepEqual(decoder.write(large.subarray(0, 4)), []);
  t.throws(() => decoder.write(large.subarray(4, 5)), { message: /larger than max \(11 vs 10\)/ });
});

test("message decoder - nothing comes of nothing", (t) => {
  t.deepEqual(new MessageDecoder(10).write(Buffer.alloc(0)), []);
});

test("message decoder - a call whose decoder is elsewhere is no call of grpc-js that we know", (t) => {
  t.throws(() => decodeAtOnce({}, 10), { message: /elsewhere/ });
  const call = { decoder: { write: () => [] } };
  decodeAtOnce(call, 10);
  t.true((call.decoder as unknown) instanceof MessageDecoder);
});
