/**
 * What a method is made of: a plain function over a request and a context. Only `grpc-server.ts` knows what carries the
 * calls, so a simulation can call the same handlers without a network. Requests and responses are wire bytes, because
 * the busiest methods never decode them; `defineUnary` adds the messages for the others.
 */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { DescMessage, DescMethod, DescMethodUnary, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { VaultError } from "../errors.ts";

/** What a handler knows of its call. */
export interface CallContext {
  /**
   * Aborted when nobody waits for the call any more: cancelled, deadline passed, connection lost. Also when the server
   * drains, but then only for streaming calls, and the reason is a VaultError of kind `unavailable` that the handler
   * shall end the call with.
   */
  readonly signal: AbortSignal;
  /** How long the client waits, in milliseconds from the call's begin; undefined where it set no deadline. */
  readonly deadlineMs: number | undefined;
  /** Where the call comes from: address and port. */
  readonly peer: string;
  /** What the client sent along, by lower-case name: the first value where there are several. */
  readonly metadata: { get(name: string): string | undefined };
  /** Sends this along before the answer, by lower-case name. Once at most, and before the first response. */
  sendMetadata(metadata: Readonly<Record<string, string>>): void;
}

/**
 * A response as wire bytes that need not lie side by side: the transport copies them once, into its own message. A
 * Buffer is one.
 */
export interface WireBytes {
  readonly byteLength: number;
  /** Copies all bytes to `target`, from `at` on. Once at most. */
  copy(target: Uint8Array, at: number): unknown;
}

/** One request, one response. */
export interface UnaryHandler {
  readonly kind: "unary";
  handle(request: Buffer, context: CallContext): Promise<Uint8Array>;
}

/** One request, any number of responses. The next one is asked for when the transport has room. */
export interface ServerStreamHandler {
  readonly kind: "serverStream";
  handle(request: Buffer, context: CallContext): AsyncIterable<WireBytes>;
}

/**
 * Requests and responses in any order. That the requests end says that no more are coming, and nothing about why: a
 * client that broke off can look like one that finished. They throw the signal's reason when it is aborted.
 */
export interface DuplexHandler {
  readonly kind: "duplex";
  handle(requests: AsyncIterable<Buffer>, context: CallContext): AsyncIterable<WireBytes>;
}

/** A handler of any shape. It may throw or reject at any time: the call ends with the error's status. */
export type Handler = UnaryHandler | ServerStreamHandler | DuplexHandler;

/** Handlers by the method's path, such as `/messagevault.v1.VaultService/Publish`. */
export type HandlerTable = Readonly<Record<string, Handler>>;

/** The path that a method is called by. */
export function methodPath(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}

/** Decodes a request. Throws `invalid` where the bytes are not a message of this type. */
export function decodeRequest<T extends DescMessage>(schema: T, bytes: Uint8Array): MessageShape<T> {
  try {
    return fromBinary(schema, bytes, { readUnknownFields: false });
  } catch (error) {
    throw new VaultError("invalid", `the request is not a valid ${schema.typeName}`, {}, error);
  }
}

/** Encodes a response. */
export function encodeResponse<T extends DescMessage>(schema: T, message: MessageInitShape<T>): Buffer {
  const { buffer, byteOffset, byteLength } = toBinary(schema, create(schema, message));
  return Buffer.from(buffer, byteOffset, byteLength);
}

/** A table of one unary method, from a function over its messages. */
export function defineUnary<I extends DescMessage, O extends DescMessage>(
  method: DescMethodUnary<I, O>,
  handle: (request: MessageShape<I>, context: CallContext) => Promise<MessageInitShape<O>>,
): HandlerTable {
  return {
    [methodPath(method)]: {
      kind: "unary",
      async handle(bytes, context) {
        return encodeResponse(method.output, await handle(decodeRequest(method.input, bytes), context));
      },
    },
  };
}
