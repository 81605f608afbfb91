/** What gRPC puts before a message: whether it is compressed, and its length. */
const prefixBytes = 5;

/**
 * Puts messages together from the pieces in which they come, in place of grpc-js's own decoder: that keeps the pieces
 * until a message is whole, which of large messages on many connections is long enough for the collector to take them
 * for old; their memory, as much as all that is published, then stayed until a full collection. Here a piece is copied
 * when it comes.
 *
 * Invariant: while `message` is undefined, `filled` bytes of the prefix are there; else `filled` bytes of the message,
 * prefix included.
 */
export class MessageDecoder {
  private readonly messageBytesMax: number;
  private readonly prefix = Buffer.alloc(prefixBytes);
  private message: Buffer | undefined;
  private filled = 0;

  /** `messageBytesMax`: the most bytes of a message, its prefix not counted. */
  constructor(messageBytesMax: number) {
    this.messageBytesMax = messageBytesMax;
  }

  /** Takes a piece. Returns the messages that are whole by now, each with its prefix, in memory of its own. */
  write(data: Buffer): Buffer[] {
    const messages: Buffer[] = [];
    for (let at = 0; at < data.length;) {
      const target = this.message ?? this.prefix;
      const taken = data.copy(target, this.filled, at);
      at += taken;
      this.filled += taken;
      if (this.filled < target.length) break;
      const whole = this.message ?? this.begin();
      if (this.filled < whole.length) continue;
      messages.push(whole);
      this.message = undefined;
      this.filled = 0;
    }
    return messages;
  }

  /** Begins the message whose prefix is there. */
  private begin(): Buffer {
    const messageBytes = this.prefix.readUInt32BE(1);
    if (messageBytes > this.messageBytesMax) {
      throw new Error(`Received message larger than max (${messageBytes} vs ${this.messageBytesMax})`);
    }
    this.message = Buffer.allocUnsafeSlow(prefixBytes + messageBytes);
    this.prefix.copy(this.message);
    return this.message;
  }
}

/**
 * Gives a call of grpc-js this decoder, before any of it has come: there is no option for it. Throws where grpc-js does
 * not have it there any more. [grpc-js 1.14: BaseServerInterceptingCall]
 */
export function decodeAtOnce<T extends object>(call: T, messageBytesMax: number): T {
  const intercepted = call as { decoder?: Partial<Pick<MessageDecoder, "write">> };
  if (typeof intercepted.decoder?.write !== "function") throw new Error("grpc-js has its decoder elsewhere");
  intercepted.decoder = new MessageDecoder(messageBytesMax);
  return call;
}
