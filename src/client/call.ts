import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { DescMessage, DescMethod, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { Metadata } from "@grpc/grpc-js";
import type { ServiceError } from "@grpc/grpc-js";
import type { Clock } from "../clock.ts";
import { isKind } from "../errors.ts";
import type { VaultError } from "../errors.ts";
import type { Log } from "../log.ts";
import { methodPath } from "../rpc/handlers.ts";
import { leaderKey } from "../rpc/leader-route.ts";
import { pause, retryDelayMs } from "./backoff.ts";
import type { Endpoint, Endpoints } from "./endpoints.ts";
import { toVaultError } from "./status.ts";

/** What every call of a client shares. */
export interface CallContext {
  readonly endpoints: Endpoints;
  readonly clock: Clock;
  readonly log: Log;
  /** How long calls are repeated, in milliseconds. */
  readonly retryForMs: number;
}

/** How one call is made. */
export interface CallOptions {
  /** How long to wait for one answer, in milliseconds: 30 s by default. */
  readonly timeoutMs?: number;
  /** How long to repeat the call while the vault is not available, in milliseconds; the client's own by default. */
  readonly retryForMs?: number;
  /** Ends the call. */
  readonly signal?: AbortSignal;
}

const timeoutMsDefault = 30_000;

type UnaryMethod<I extends DescMessage, O extends DescMessage> = DescMethod & { readonly input: I; readonly output: O };

/** Passes bytes through, where grpc-js asks for a serializer: messages are encoded and decoded outside of it. */
export function passBytes(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/**
 * Calls a unary method, and calls it again where nothing was done: at the next address, after a growing delay.
 * Where `repeatable`, also when it is not known whether it was done. Rejects with a VaultError.
 */
export async function callUnary<I extends DescMessage, O extends DescMessage>(
  context: CallContext,
  method: UnaryMethod<I, O>,
  request: MessageInitShape<I>,
  repeatable: boolean,
  options: CallOptions = {},
): Promise<MessageShape<O>> {
  const bytes = toBinary(method.input, create(method.input, request));
  return fromBinary(method.output, await callBytes(context, methodPath(method), bytes, repeatable, options));
}

/** As `callUnary`, with messages that are encoded already. */
export async function callBytes(
  context: CallContext,
  path: string,
  request: Uint8Array,
  repeatable: boolean,
  options: CallOptions,
): Promise<Uint8Array> {
  const { clock, endpoints, log } = context;
  const retryUntil = clock.monotonic() + (options.retryForMs ?? context.retryForMs);
  for (let attempt = 1; ; attempt++) {
    const endpoint = endpoints.pickLeader();
    try {
      return await callOnce(context, endpoint, path, request, options);
    } catch (error) {
      if (!mayRetry(error, repeatable) || options.signal?.aborted === true) throw error;
      endpoints.moveOn(endpoint, error.detail.leader);
      const delayMs = retryDelayMs(clock, error, attempt, endpoints.addressCount);
      if (clock.monotonic() + delayMs > retryUntil) throw error;
      log.debug("call is repeated", { path, address: endpoint.address, error, delayMs });
      await pause(clock, delayMs, options.signal);
    }
  }
}

/** Whether repeating what failed with `error` can help, and cannot do it twice. */
export function mayRetry(error: unknown, repeatable: boolean): error is VaultError {
  return isKind(error, "unavailable", "overloaded") || (repeatable && isKind(error, "indeterminate"));
}

function callOnce(
  { clock, endpoints }: CallContext,
  endpoint: Endpoint,
  path: string,
  request: Uint8Array,
  options: CallOptions,
): Promise<Uint8Array> {
  const deadline = clock.now() + (options.timeoutMs ?? timeoutMsDefault);
  return new Promise((resolve, reject) => {
    const call = endpoint.channel.makeUnaryRequest(
      path,
      passBytes,
      passBytes,
      request,
      new Metadata(),
      { deadline },
      (error: ServiceError | null, response?: Uint8Array) => {
        options.signal?.removeEventListener("abort", cancel);
        if (error === null && response !== undefined) resolve(response);
        else reject(toVaultError(error, endpoint.address));
      },
    );
    call.on("metadata", (metadata: Metadata) => {
      const leader = metadata.get(leaderKey)[0];
      if (typeof leader === "string") endpoints.mention(leader);
    });
    const cancel = () => call.cancel();
    options.signal?.addEventListener("abort", cancel, { once: true });
    if (options.signal?.aborted === true) cancel();
  });
}
