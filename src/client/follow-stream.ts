import type { ClientReadableStream, StatusObject } from "@grpc/grpc-js";
import { Metadata, status as statusCode } from "@grpc/grpc-js";
import { ClusterService } from "../../gen/messagevault/v1/cluster_pb.ts";
import { VaultService } from "../../gen/messagevault/v1/vault_pb.ts";
import type { VaultError } from "../errors.ts";
import { methodPath } from "../rpc/handlers.ts";
import { pause, retryDelayMs } from "./backoff.ts";
import { callUnary, mayRetry, passBytes } from "./call.ts";
import type { CallContext } from "./call.ts";
import { createCursor, heartbeatMsDefault } from "./cursor.ts";
import type { Cursor, SubscribeOptions } from "./cursor.ts";
import { readDelivery } from "./delivery.ts";
import type { Delivery } from "./delivery.ts";
import { toVaultError } from "./status.ts";

// A vault that is silent for so many heartbeats is taken for gone.
const missedHeartbeatsMax = 3;
// A connection may take so long to be made, in milliseconds, however soon heartbeats shall come.
const firstResponseMs = 3000;

// A vault that could confirm a stream's time and does not for so long leads no more, in milliseconds.
const unconfirmedMsMax = 10_000;

/** How a stream is followed. */
export interface FollowOptions extends SubscribeOptions {
  /** Whether deliveries at the tail shall say until when the stream is complete: then it is read at the leader. */
  readonly confirmed?: boolean;
}

const path = methodPath(VaultService.method.subscribe);

/**
 * Reads a stream, and resumes on another connection when one breaks: without a gap, without a duplicate. Heartbeats are
 * yielded too (`recordCount` is 0). Nothing is read ahead but what the transport buffers: it is the caller who pulls.
 *
 * Ends at the requested end, or when the signal is aborted. Throws a VaultError: what the vault refused, or the last
 * failure where it could not be resumed in time.
 */
export async function* followStream(
  context: CallContext,
  stream: string,
  options: FollowOptions,
): AsyncGenerator<Delivery, void> {
  const { clock, endpoints, log } = context;
  const isAborted = () => options.signal?.aborted === true;
  const retryForMs = options.retryForMs ?? context.retryForMs;
  const cursor = createCursor(stream, options);
  let attempt = 0;
  let lastSeen = clock.monotonic();
  while (!cursor.isDone() && !isAborted()) {
    const endpoint = options.confirmed === true ? await pickLeader(context, options) : endpoints.pick();
    if (isAborted()) return;
    const call = endpoint.channel.makeServerStreamRequest(path, passBytes, passBytes, cursor.request(), new Metadata());
    const outcome = watchCall(call, endpoint.address, options.signal);
    try {
      for await (const delivery of readCall(context, call, cursor, options)) {
        attempt = 0;
        yield delivery;
        lastSeen = clock.monotonic();
      }
    } finally {
      call.cancel();
    }
    const error = await outcome;
    if (error === undefined || cursor.isDone() || isAborted()) return;
    const delayMs = retryDelayMs(clock, error, ++attempt, endpoints.addressCount);
    if (!mayRetry(error, true) || clock.monotonic() + delayMs > lastSeen + retryForMs) throw error;
    // Any node serves it: where it shall be the leader, that is asked for anew.
    endpoints.moveOn(endpoint, undefined);
    log.warn("subscription was interrupted", { stream, address: endpoint.address, error, delayMs });
    await pause(clock, delayMs, options.signal);
  }
}

// The leader, where it is known and can be reached; else any node, which may know it later.
async function pickLeader(context: CallContext, { signal, retryForMs = context.retryForMs }: FollowOptions) {
  const { endpoints } = context;
  try {
    const options = signal === undefined ? { retryForMs } : { retryForMs, signal };
    const { leader } = await callUnary(context, ClusterService.method.getCluster, {}, true, options);
    if (leader !== undefined && leader.endpoint !== "") endpoints.lead(leader.endpoint);
  } catch (error) {
    if (signal?.aborted !== true) throw error;
  }
  return endpoints.pickLeader();
}

// Yields what one call brings, until it ends, is silent for too long, or everything has come.
async function* readCall(
  context: CallContext,
  call: ClientReadableStream<Buffer>,
  cursor: Cursor,
  options: FollowOptions,
): AsyncGenerator<Delivery, void> {
  const { clock } = context;
  const heartbeatsMs = missedHeartbeatsMax * (options.heartbeatMs ?? heartbeatMsDefault);
  let silenceMs = Math.max(firstResponseMs, heartbeatsMs);
  let confirmedAt = clock.monotonic();
  let arrival = Promise.withResolvers<boolean>();
  const wake = () => arrival.resolve(true);
  call.on("readable", wake);
  call.on("end", wake);
  for (;;) {
    const bytes = call.read() as Buffer | null;
    if (bytes !== null) {
      const delivery = readDelivery(bytes, cursor.before());
      cursor.advance(delivery);
      silenceMs = heartbeatsMs;
      yield delivery;
      if (!delivery.caughtUp || delivery.completeUntil !== undefined) confirmedAt = clock.monotonic();
      if (options.confirmed === true && clock.monotonic() - confirmedAt > unconfirmedMsMax) return;
      if (cursor.isDone() || options.signal?.aborted === true) return;
    } else {
      if (call.readableEnded) return;
      // Only now: while the caller is busy, silence is nobody's fault.
      const timer = clock.timer(silenceMs, () => arrival.resolve(false));
      const more = await arrival.promise;
      timer.cancel();
      if (!more) return;
      arrival = Promise.withResolvers<boolean>();
    }
  }
}

// Resolves when the call has ended: to undefined if the vault said that everything was sent, else to what it said.
function watchCall(
  call: ClientReadableStream<Buffer>,
  address: string,
  signal: AbortSignal | undefined,
): Promise<VaultError | undefined> {
  const cancel = () => call.cancel();
  signal?.addEventListener("abort", cancel, { once: true });
  // Errors come as a status as well.
  call.on("error", () => undefined);
  return new Promise((resolve) => {
    call.on("status", (status: StatusObject) => {
      signal?.removeEventListener("abort", cancel);
      resolve(status.code === statusCode.OK ? undefined : toVaultError(status, address));
    });
  });
}
