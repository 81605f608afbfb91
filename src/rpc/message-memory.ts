/** When the memory of gRPC's messages is freed: as soon as nobody needs them, by hand. */
import { freeMemory } from "../free-memory.ts";
import type { WireBytes } from "./handlers.ts";

/** What grpc-js puts before a message: whether it is compressed, and its length. */
const prefixBytes = 5;

/** Smaller messages are left to the garbage collector: to free them costs more than it saves. */
const freedBytesMin = 16 * 1024;

/**
 * Frees the memory of a request that was handled: nobody may look at it again.
 *
 * grpc-js puts each message together in memory of its own, behind its prefix; bytes that do not lie like that came in
 * some other way, and stay. [grpc-js 1.14: StreamDecoder.write] A test sees to it that this stays so.
 */
export function freeRequest(request: Buffer): void {
  if (request.length >= freedBytesMin) freeMemory(request, prefixBytes);
}

/** A response on its way through the transport. */
export interface OutgoingMessage extends WireBytes {
  /** Frees the transport's copy, once the system has taken it. */
  free(): void;
}

/**
 * Wraps a response so that the transport's copy of it can be freed. grpc-js makes each message in memory of its own,
 * and nobody but HTTP/2 has it then; a message that lies in some other way stays.
 * [grpc-js 1.14: BaseServerInterceptingCall.serializeMessage] A test sees to it that this stays so.
 */
export function toOutgoing(response: WireBytes): OutgoingMessage {
  let copied: Uint8Array | undefined;
  return {
    byteLength: response.byteLength,
    copy(target, at) {
      copied = target;
      return response.copy(target, at);
    },
    free() {
      if (copied !== undefined && copied.length >= freedBytesMin) freeMemory(copied);
      copied = undefined;
    },
  };
}
