import { VaultService } from "../../gen/messagevault/v1/vault_pb.ts";
import { VaultError } from "../errors.ts";
import type { RecordLimits } from "../segment/batch.ts";
import { findStoredTraces } from "../segment/record-traces.ts";
import type { Delivery, SubscribeCommand, VaultApi } from "../stream/commands.ts";
import { noTelemetry, type Span, type Telemetry } from "../telemetry.ts";
import type { TraceContext } from "../trace-context.ts";
import type { CallContext, HandlerTable, WireBytes } from "./handlers.ts";
import { methodPath } from "./handlers.ts";
import { freeRequest } from "./message-memory.ts";
import { readCallTrace } from "./observe-calls.ts";
import { parsePublishRequest } from "./publish-request.ts";
import { encodePublishResponse, publishAll } from "./publish-stream.ts";
import { parseSubscribeRequest } from "./subscribe-request.ts";
import { encodeSubscribeResponse } from "./subscribe-response.ts";

/**
 * The methods of VaultService. `limits` hold for every record that is published, `heartbeatMs` for subscriptions that
 * do not say.
 */
export function createVaultHandlers(
  vault: VaultApi,
  limits: RecordLimits,
  heartbeatMs?: number,
  telemetry: Telemetry = noTelemetry,
): HandlerTable {
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
      handle: (request, context) => subscribe(vault, parseSubscribeRequest(request, heartbeatMs), context, telemetry),
    },
  };
}

/** Ends by returning only at the requested end: else the error says where to resume. */
async function* subscribe(
  vault: VaultApi,
  command: SubscribeCommand,
  { signal, metadata }: CallContext,
  telemetry: Telemetry,
): AsyncGenerator<WireBytes> {
  const caller = telemetry.tracing ? readCallTrace(metadata) : undefined;
  let span: Span | undefined;
  let nextOffset: bigint | undefined;
  let ended = false;
  try {
    for await (const delivery of vault.subscribe(command, signal)) {
      nextOffset = delivery.nextOffset;
      if (telemetry.tracing) span = startDeliverySpan(telemetry, command.stream, delivery, caller);
      yield encodeSubscribeResponse(delivery);
      // The transport has taken it.
      span?.end();
      span = undefined;
    }
    ended = !signal.aborted;
  } catch (error) {
    if (!signal.aborted) throw withNextOffset(error, nextOffset);
  } finally {
    span?.end("CANCELLED");
  }
  if (!ended) throw withNextOffset(signal.reason, nextOffset);
}

/**
 * The span of one response: a child of the first record that is recorded, and linked with those that are; where none is,
 * a child of the call. The call itself has none, as it lasts for as long as the subscriber likes.
 */
function startDeliverySpan(
  telemetry: Telemetry,
  stream: string,
  { payload, nextOffset }: Delivery,
  caller: TraceContext | undefined,
): Span | undefined {
  if (payload.length === 0) return undefined;
  const records = findStoredTraces(payload);
  const parent = records[0] ?? (caller?.sampled === true ? caller : undefined);
  if (parent === undefined) return undefined;
  const attributes = {
    "messaging.system.name": "message_vault",
    "messaging.operation.name": "deliver",
    "messaging.destination.name": stream,
    "messagevault.offset.next": Number(nextOffset),
  };
  const links = caller === undefined ? records : [...records, caller];
  return telemetry.startSpan("deliver", { subject: stream, parent, links, attributes });
}

/** An OUT_OF_RANGE tells the stream's bounds instead: where the subscription stood is not there any more. */
function withNextOffset(error: unknown, nextOffset: bigint | undefined): unknown {
  if (!(error instanceof VaultError) || error.kind === "outOfRange" || nextOffset === undefined) return error;
  const found = { ...error.detail.found, next_offset: `${nextOffset}` };
  const message = `${error.message} (next offset: ${nextOffset})`;
  return new VaultError(error.kind, message, { ...error.detail, found }, error);
}
