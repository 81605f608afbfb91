/**
 * Calls other nodes by grpc-js.
 *
 * Invariants:
 * - There is at most one channel an endpoint, and at most `channelsMax` of them: the one used longest ago, that no call
 *   uses, is closed for a new one.
 * - A call begins only on a connection that stands. So what fails before is `unavailable`: nothing was sent. A request
 *   that was sent is never sent again.
 */
import * as grpc from "@grpc/grpc-js";
import type { Clock } from "../clock.ts";
import { VaultError } from "../errors.ts";
import type { Caller, CallerOptions } from "./caller.ts";
import { fromClientStatus } from "./from-status.ts";
import { receiveBytesMax } from "./grpc-server.ts";
import { statusDetailsKey } from "./status.ts";
import { toTlsTarget } from "./tls-target.ts";

/** What a caller can be told. */
export interface GrpcCallerSettings {
  /** How long a connection may take to stand, in milliseconds. */
  readonly connectTimeoutMs: number;
  /** After so many milliseconds without traffic the other node is asked whether the connection still lives. */
  readonly keepaliveMs: number;
  /** A connection that does not answer that within so many milliseconds is closed. */
  readonly keepaliveTimeoutMs: number;
  /** TLS, with the authorities (PEM) that certificates are checked against; the system's where absent. */
  readonly tls?: { readonly authorities?: Buffer | undefined } | undefined;
}

/** The most endpoints that a caller keeps a channel to. */
export const channelsMax = 32;

/** A channel that no call used for so long is closed when another is used: it would try to connect for ever. */
export const channelIdleMsMax = 60_000;

interface Channel {
  readonly endpoint: string;
  readonly client: grpc.Client;
  calls: number;
  /** By the monotonic clock. */
  usedAt: number;
}

type ReadableCall = grpc.ClientReadableStream<Buffer> | grpc.ClientDuplexStream<Uint8Array, Buffer>;

/** Makes a caller. Connections are made when they are first needed, and stay. */
export function createGrpcCaller(settings: GrpcCallerSettings, clock: Clock): Caller {
  const options = toChannelOptions(settings);
  const channels = createChannels(clock, (endpoint) => {
    if (settings.tls === undefined) return new grpc.Client(endpoint, grpc.credentials.createInsecure(), options);
    const target = toTlsTarget(endpoint);
    const credentials = grpc.credentials.createSsl(settings.tls.authorities ?? null, null, null, target.verify);
    return new grpc.Client(endpoint, credentials, { ...options, ...target.options });
  });

  /** Runs a call on a connection that stands. */
  async function* onChannel(
    endpoint: string,
    signal: AbortSignal,
    run: (channel: Channel) => AsyncIterable<Buffer>,
  ): AsyncGenerator<Buffer> {
    const channel = channels.take(endpoint);
    try {
      await waitForReady(channel, clock, settings.connectTimeoutMs, signal);
      yield* run(channel);
    } finally {
      channels.giveBack(channel);
    }
  }

  return {
    async unary(endpoint, path, request, call) {
      const channel = channels.take(endpoint);
      try {
        await waitForReady(channel, clock, settings.connectTimeoutMs, call.signal);
        return await callUnary(channel, path, request, call, clock);
      } finally {
        channels.giveBack(channel);
      }
    },
    serverStream: (endpoint, path, request, call) =>
      onChannel(endpoint, call.signal, ({ client }) => {
        const [metadata, made] = toGrpc(call, clock);
        const stream = client.makeServerStreamRequest(path, passBytes, passBuffer, request, metadata, made);
        return readResponses(stream, endpoint, call.signal);
      }),
    duplex: (endpoint, path, requests, call) =>
      onChannel(endpoint, call.signal, ({ client }) => {
        const [metadata, made] = toGrpc(call, clock);
        const stream = client.makeBidiStreamRequest(path, passBytes, passBuffer, metadata, made);
        return readResponses(stream, endpoint, call.signal, sendRequests(stream, requests));
      }),
    close: () => channels.close(),
  };
}

function toChannelOptions({ keepaliveMs, keepaliveTimeoutMs }: GrpcCallerSettings): grpc.ChannelOptions {
  return {
    "grpc.max_receive_message_length": receiveBytesMax,
    "grpc.max_send_message_length": receiveBytesMax,
    "grpc.keepalive_time_ms": keepaliveMs,
    "grpc.keepalive_timeout_ms": keepaliveTimeoutMs,
    // grpc-js would wait up to two minutes before it connects anew.
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 500,
    // What was sent is not sent again. Only what the other node's transport refused is, as long as grpc-js keeps it: it
    // takes so many bytes of requests at once, whether there is room for them or not.
    "grpc.enable_retries": 0,
    "grpc.per_rpc_retry_buffer_size": 64 * 1024,
    // What is sent on one caller's connections does not wait behind what another caller sends.
    "grpc.use_local_subchannel_pool": 1,
  };
}

function createChannels(clock: Clock, connect: (endpoint: string) => grpc.Client) {
  // In the order of their last use.
  const channels = new Map<string, Channel>();
  let closed = false;

  function closeChannel({ endpoint, client }: Channel): void {
    channels.delete(endpoint);
    client.close();
  }

  function closeIdle(): void {
    const before = clock.monotonic() - channelIdleMsMax;
    for (const channel of channels.values()) if (channel.calls === 0 && channel.usedAt < before) closeChannel(channel);
  }

  function open(endpoint: string): Channel {
    if (channels.size >= channelsMax) {
      const idle = [...channels.values()].find(({ calls }) => calls === 0);
      if (idle === undefined) {
        throw new VaultError("overloaded", `this node speaks with ${channelsMax} others already; try again later`);
      }
      closeChannel(idle);
    }
    return { endpoint, client: connect(endpoint), calls: 0, usedAt: 0 };
  }

  return {
    /** Counts a call on the endpoint's channel; who took it gives it back. */
    take(endpoint: string): Channel {
      if (closed) throw new VaultError("unavailable", "this node shuts down: go on at another one");
      const channel = channels.get(endpoint) ?? open(endpoint);
      channel.calls++;
      channels.delete(endpoint);
      channels.set(endpoint, channel);
      closeIdle();
      return channel;
    },
    giveBack(channel: Channel): void {
      channel.calls--;
      channel.usedAt = clock.monotonic();
    },
    close(): void {
      closed = true;
      for (const channel of channels.values()) closeChannel(channel);
    },
  };
}

/** Resolves when the connection stands; else rejects with `unavailable`, at once where it cannot be made just now. */
async function waitForReady(channel: Channel, clock: Clock, timeoutMs: number, signal: AbortSignal): Promise<void> {
  const { endpoint, client } = channel;
  const failed = (why: string) =>
    new VaultError("unavailable", `no connection to ${endpoint}: ${why}`, { resource: endpoint });
  const deadline = clock.monotonic() + timeoutMs;
  for (;;) {
    if (signal.aborted) throw failed("the call was given up");
    const state = readState(client);
    if (state === grpc.connectivityState.READY) return;
    if (state === grpc.connectivityState.TRANSIENT_FAILURE) throw failed("it cannot be reached just now");
    if (state === undefined || state === grpc.connectivityState.SHUTDOWN) throw failed("this node shuts down");
    const remainingMs = deadline - clock.monotonic();
    if (remainingMs <= 0) throw failed(`it does not answer within ${timeoutMs} ms`);
    await waitForOtherState(client, clock, state, remainingMs, signal);
  }
}

/** The channel's state; connects if it is idle. Undefined once it is closed. */
function readState(client: grpc.Client): grpc.connectivityState | undefined {
  try {
    return client.getChannel().getConnectivityState(true);
  } catch {
    return undefined;
  }
}

function waitForOtherState(
  client: grpc.Client,
  clock: Clock,
  state: grpc.connectivityState,
  delayMs: number,
  signal: AbortSignal,
): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      timer.cancel();
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = clock.timer(delayMs, done);
    signal.addEventListener("abort", done, { once: true });
    try {
      // Its own deadline only sees to it that grpc-js forgets us.
      client.getChannel().watchConnectivityState(state, clock.now() + delayMs, done);
    } catch {
      done();
    }
  });
}

function callUnary(
  { client, endpoint }: Channel,
  path: string,
  request: Uint8Array,
  options: CallerOptions,
  clock: Clock,
): Promise<Buffer> {
  const { signal } = options;
  const [metadata, made] = toGrpc(options, clock);
  return new Promise((resolve, reject) => {
    const cancel = () => call.cancel();
    const call = client.makeUnaryRequest(path, passBytes, passBuffer, request, metadata, made, (error, response) => {
      signal.removeEventListener("abort", cancel);
      if (error === null && response !== undefined) resolve(response);
      else reject(toError(error, endpoint));
    });
    signal.addEventListener("abort", cancel, { once: true });
    if (signal.aborted) cancel();
  });
}

/** Yields what comes until the call ends. `sending` rejects with what made the requests fail. */
async function* readResponses(
  call: ReadableCall,
  endpoint: string,
  signal: AbortSignal,
  sending?: Promise<void>,
): AsyncGenerator<Buffer> {
  const cancel = () => call.cancel();
  signal.addEventListener("abort", cancel, { once: true });
  if (signal.aborted) cancel();
  let failure: { readonly error: unknown } | undefined;
  sending?.catch((error: unknown) => {
    failure ??= { error };
    call.cancel();
  });
  try {
    const status = Promise.withResolvers<grpc.StatusObject>();
    call.on("status", status.resolve);
    // Errors come as a status as well.
    call.on("error", () => undefined);
    yield* readMessages(call);
    const received = await status.promise;
    if (failure !== undefined) throw failure.error;
    if (received.code !== grpc.status.OK) throw toError(received, endpoint);
  } finally {
    signal.removeEventListener("abort", cancel);
    call.cancel();
  }
}

async function* readMessages(call: ReadableCall): AsyncGenerator<Buffer> {
  let wake: (() => void) | undefined;
  const onEvent = () => wake?.();
  call.on("readable", onEvent).on("end", onEvent).on("close", onEvent);
  for (;;) {
    const message = call.read() as Buffer | null;
    if (message !== null) yield message;
    else if (call.readableEnded || call.destroyed) return;
    else await new Promise<void>((resolve) => (wake = resolve));
  }
}

/** Sends one request after the other, each when the transport has taken the one before. */
async function sendRequests(
  call: grpc.ClientDuplexStream<Uint8Array, Buffer>,
  requests: AsyncIterable<Uint8Array>,
): Promise<void> {
  const iterator = requests[Symbol.asyncIterator]();
  let ended = false;
  let wake: (() => void) | undefined;
  call.on("status", () => {
    ended = true;
    wake?.();
  });
  // Once the call has ended a write may never be called back, and nobody waits for requests.
  const unlessEnded = <T>(step: Promise<T>) =>
    new Promise<T | undefined>((resolve, reject) => {
      wake = () => resolve(undefined);
      step.then(resolve, reject);
    });
  for (;;) {
    const next = await unlessEnded(iterator.next());
    if (ended || next === undefined) break;
    if (next.done === true) {
      call.end();
      return;
    }
    await unlessEnded(new Promise<void>((resolve) => call.write(next.value, () => resolve())));
    if (ended) break;
  }
  void iterator.return?.()?.catch(() => undefined);
}

function toGrpc({ metadata, deadlineMs }: CallerOptions, clock: Clock): [grpc.Metadata, grpc.CallOptions] {
  const sent = new grpc.Metadata();
  for (const [name, value] of Object.entries(metadata ?? {})) sent.set(name, value);
  return [sent, deadlineMs === undefined ? {} : { deadline: clock.now() + deadlineMs }];
}

function toError(
  status: Pick<grpc.StatusObject, "code" | "details" | "metadata"> | null,
  endpoint: string,
): VaultError {
  if (status === null) return new VaultError("indeterminate", `${endpoint} gave no answer`, { resource: endpoint });
  const [details] = status.metadata.get(statusDetailsKey);
  const bytes = Buffer.isBuffer(details) ? details : undefined;
  return fromClientStatus({ code: status.code, message: status.details, details: bytes }, endpoint);
}

function passBytes(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function passBuffer(bytes: Buffer): Buffer {
  return bytes;
}
