import { VaultService } from "../../gen/messagevault/v1/vault_pb.ts";
import { VaultError } from "../errors.ts";
import type { RecordLimits } from "../segment/batch.ts";
import type { SubscribeCommand, VaultApi } from "../stream/commands.ts";
import type { CallContext, HandlerTable, WireBytes } from "./handlers.ts";
import { methodPath } from "./handlers.ts";
import { freeRequest } from "./message-memory.ts";
import { parsePublishRequest } from "./publish-request.ts";
import { encodePublishResponse, publishAll } from "./publish-stream.ts";
import { parseSubscribeRequest } from "./subscribe-request.ts";
import { encodeSubscribeResponse } from "./subscribe-response.ts";

/**
 * The methods of VaultService. `limits` hold for every record that is published, `heartbeatMs` for subscriptions that
 * do not say.
 */
export function createVaultHandlers(vault: VaultApi, limits: RecordLimits, heartbeatMs?: number): HandlerTable {
  return {
    [methodPath(VaultService.method.publish)]: {
      kind: "unary",
      async handle(request) {
        const result = await vault.publish(parsePublishRequest(request, limits));
        freeRequest(request);
        return encodePublishResponse(result);
      },
    },
    [methodPath(VaultService.method.publishStream)]: {
      kind: "duplex",
      handle: (requests, { signal }) => publishAll(vault, limits, requests, signal),
    },
    [methodPath(VaultService.method.subscribe)]: {
      kind: "serverStream",
      handle: (request, context) => subscribe(vault, parseSubscribeRequest(request, heartbeatMs), context),
    },
  };
}

/** Ends by returning only at the requested end: else the error says where to resume. */
async function* subscribe(
  vault: VaultApi,
  command: SubscribeCommand,
  { signal }: CallContext,
): AsyncGenerator<WireBytes> {
  let nextOffset: bigint | undefined;
  let ended = false;
  try {
    for await (const delivery of vault.subscribe(command, signal)) {
      nextOffset = delivery.nextOffset;
      yield encodeSubscribeResponse(delivery);
    }
    ended = !signal.aborted;
  } catch (error) {
    if (!signal.aborted) throw withNextOffset(error, nextOffset);
  }
  if (!ended) throw withNextOffset(signal.reason, nextOffset);
}

/** An OUT_OF_RANGE tells the stream's bounds instead: where the subscription stood is not there any more. */
function withNextOffset(error: unknown, nextOffset: bigint | undefined): unknown {
  if (!(error instanceof VaultError) || error.kind === "outOfRange" || nextOffset === undefined) return error;
  const found = { ...error.detail.found, next_offset: `${nextOffset}` };
  const message = `${error.message} (next offset: ${nextOffset})`;
  return new VaultError(error.kind, message, { ...error.detail, found }, error);
}
