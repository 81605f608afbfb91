/**
 * Beside `grpc-caller.ts` the one file that knows grpc-js: makes a running server of a table of handlers.
 *
 * What holds for every call:
 * - It ends with exactly one status, whatever its handler does: return, throw, reject, or be cut off.
 * - Requests of a duplex call are read one ahead, no more. Responses are pulled from the handler only while the call,
 *   and all calls together, have room for them: see `response-room.ts`.
 * - `signal` is aborted when the client is gone, by whatever way, and for streaming calls when the server drains.
 * - Nothing is concluded from the end of a client's requests but that no more come.
 */
import type { EventEmitter } from "node:events";
import { constants } from "node:http2";
import type { ServerHttp2Stream } from "node:http2";
import { createSecureContext } from "node:tls";
import * as grpc from "@grpc/grpc-js";
import type { Clock } from "../clock.ts";
import { VaultError } from "../errors.ts";
import type { Log } from "../log.ts";
import type { CallContext, Handler, HandlerTable, WireBytes } from "./handlers.ts";
import { decodeAtOnce } from "./message-decoder.ts";
import { toOutgoing } from "./message-memory.ts";
import type { Outlet, ResponseLimits } from "./response-room.ts";
import { UnsentBudget } from "./response-room.ts";
import { statusDetailsKey, toStatus } from "./status.ts";

/** The most bytes of one request message. Larger ones are answered RESOURCE_EXHAUSTED by grpc-js. */
export const receiveBytesMax = 8 * 1024 * 1024;

/** What a server can be told. */
export interface GrpcServerSettings extends ResponseLimits {
  /** The most calls at a time on one connection; clients hold back what is above it. */
  readonly callsPerConnectionMax: number;
  /** The most calls at a time on all connections; what is above it is refused with RESOURCE_EXHAUSTED. */
  readonly callsMax: number;
  /** After so many milliseconds without traffic the server asks whether a connection still lives. */
  readonly keepaliveMs: number;
  /** A connection that does not answer that within so many milliseconds is closed. */
  readonly keepaliveTimeoutMs: number;
  /** Connections are closed at about this age, ±10 %, so that clients spread over nodes again; undefined: never. */
  readonly connectionAgeMsMax?: number | undefined;
  /** How long the calls of such a connection may go on. */
  readonly connectionAgeGraceMs?: number | undefined;
  /** Certificate chain and private key, PEM; undefined: no encryption. */
  readonly tls?: { readonly certificate: Buffer; readonly key: Buffer } | undefined;
}

/** The settings where nothing else is said. */
export const grpcServerDefaults: GrpcServerSettings = {
  callsPerConnectionMax: 10_000,
  callsMax: 20_000,
  unsentBytesMax: 64 * 1024 * 1024,
  stalledMs: 10_000,
  keepaliveMs: 20_000,
  keepaliveTimeoutMs: 10_000,
};

/** A service that a library binds to grpc-js by itself: health checks, reflection. */
export interface LibraryService {
  addToServer(server: Pick<grpc.Server, "addService">): void;
}

/** A server. It accepts calls once it listens. */
export interface GrpcServer {
  /** Adds methods. Throws if one is there already. */
  addHandlers(handlers: HandlerTable): void;
  /** Adds a library's service. Its streams end with UNAVAILABLE when the server drains. */
  addLibraryService(service: LibraryService): void;
  /**
   * Listens on `host:port`, where port 0 is any that is free. Resolves to the address as bound. Throws `invalid` if the
   * address is malformed, `unavailable` if it cannot be had.
   */
  listen(address: string): Promise<string>;
  /**
   * Stops: accepts nothing new, tells streaming calls to end, waits for all calls, and cuts off after `graceMs` those
   * that are still there. Resolves to whether all ended by themselves. May be called once.
   */
  drain(graceMs: number): Promise<boolean>;
}

/** A call under way, as the server sees it. */
interface ActiveCall {
  /** Tells a streaming call to end because the server drains. */
  endForDrain(reason: VaultError): void;
}

interface ServerState {
  readonly clock: Clock;
  readonly log: Log;
  readonly callsMax: number;
  readonly unsent: UnsentBudget;
  /** Streaming calls, own and the libraries'. */
  readonly streaming: Set<ActiveCall>;
  /** Own calls of every kind. */
  calls: number;
  draining: VaultError | undefined;
}

/** What calls of all kinds have in common in grpc-js. */
type SurfaceCall = grpc.ServerUnaryCall<Buffer, Uint8Array>;
type WritableCall = grpc.ServerWritableStream<Buffer, Buffer> | grpc.ServerDuplexStream<Buffer, Buffer>;
type DuplexCall = grpc.ServerDuplexStream<Buffer, Buffer>;

/** Makes a server. */
export function createGrpcServer(settings: GrpcServerSettings, clock: Clock, log: Log): GrpcServer {
  const server = new grpc.Server(toChannelOptions(settings));
  const { callsMax } = settings;
  const unsent = new UnsentBudget(clock, settings);
  const state: ServerState = { clock, log, callsMax, unsent, streaming: new Set(), calls: 0, draining: undefined };
  return {
    addHandlers(handlers) {
      for (const [path, handler] of Object.entries(handlers)) addHandler(server, path, handler, state);
    },
    addLibraryService(service) {
      const addService: grpc.Server["addService"] = (definition, implementation) => {
        server.addService(definition, trackStreams(definition, implementation, state));
      };
      service.addToServer({ addService });
    },
    listen: (address) => listen(server, address, settings),
    drain: (graceMs) => drain(server, graceMs, state),
  };
}

function toChannelOptions(settings: GrpcServerSettings): grpc.ServerOptions {
  const { connectionAgeMsMax, connectionAgeGraceMs } = settings;
  return {
    "grpc.max_receive_message_length": receiveBytesMax,
    "grpc.max_concurrent_streams": settings.callsPerConnectionMax,
    "grpc.keepalive_time_ms": settings.keepaliveMs,
    "grpc.keepalive_timeout_ms": settings.keepaliveTimeoutMs,
    interceptors: [(_method, call) => decodeAtOnce(call as grpc.ServerInterceptingCall, receiveBytesMax)],
    ...(connectionAgeMsMax === undefined ? {} : { "grpc.max_connection_age_ms": connectionAgeMsMax }),
    ...(connectionAgeGraceMs === undefined ? {} : { "grpc.max_connection_age_grace_ms": connectionAgeGraceMs }),
  };
}

async function listen(server: grpc.Server, address: string, settings: GrpcServerSettings): Promise<string> {
  const parts = /^(?<host>\[[^\]]+\]|[^:]+):(?<port>\d{1,5})$/.exec(address)?.groups;
  if (parts === undefined || Number(parts["port"]) > 65_535) {
    throw new VaultError("invalid", `cannot listen on '${address}': give host:port, such as 127.0.0.1:50051`);
  }
  return new Promise((resolve, reject) => {
    server.bindAsync(address, toCredentials(settings), (error, port) => {
      if (error === null) resolve(`${parts["host"]}:${port}`);
      else reject(toListenError(address, error));
    });
  });
}

function toCredentials({ tls }: GrpcServerSettings): grpc.ServerCredentials {
  if (tls === undefined) return grpc.ServerCredentials.createInsecure();
  try {
    createSecureContext({ cert: tls.certificate, key: tls.key });
  } catch (error) {
    throw new VaultError("invalid", `the TLS certificate and key do not work: ${(error as Error).message}`, {}, error);
  }
  return grpc.ServerCredentials.createSsl(null, [{ cert_chain: tls.certificate, private_key: tls.key }]);
}

function toListenError(address: string, error: Error): VaultError {
  const reason = error.message.includes("EADDRINUSE")
    ? "another process listens there: stop it, or choose another port (0 takes any that is free)"
    : error.message;
  return new VaultError("unavailable", `cannot listen on ${address}: ${reason}`, { resource: address }, error);
}

async function drain(server: grpc.Server, graceMs: number, state: ServerState): Promise<boolean> {
  const reason = new VaultError("unavailable", "this node shuts down: go on at another one, or here in a while");
  state.draining = reason;
  let forced = false;
  await new Promise<void>((resolve) => {
    const timer = state.clock.timer(graceMs, () => {
      forced = true;
      // Works only while channelz is on, its default: without it grpc-js 1.14 forgets whom to cut off.
      server.forceShutdown();
      resolve();
    });
    // Stops accepting before the calls end, so that nobody comes back to this node at once.
    server.tryShutdown(() => {
      timer.cancel();
      resolve();
    });
    for (const call of state.streaming) call.endForDrain(reason);
  });
  return !forced;
}

function addHandler(server: grpc.Server, path: string, handler: Handler, state: ServerState): void {
  const passThrough = (bytes: Buffer) => bytes;
  // What grpc-js does with a message is to ask its `byteLength` and to `copy` it behind five bytes of its own.
  // [grpc-js 1.14: BaseServerInterceptingCall.serializeMessage] A test sees to it that this stays so.
  const toBuffer = (bytes: WireBytes) => bytes as Buffer;
  const register = (run: grpc.UntypedHandleCall, type: "unary" | "serverStream" | "bidi") => {
    if (!server.register(path, run, toBuffer, passThrough, type)) throw new Error(`two handlers for ${path}`);
  };
  switch (handler.kind) {
    case "unary":
      register((call: SurfaceCall, respond: grpc.sendUnaryData<Uint8Array>) => {
        void runUnary(state, path, call, respond, handler.handle.bind(handler));
      }, "unary");
      break;
    case "serverStream":
      register((call: grpc.ServerWritableStream<Buffer, Buffer>) => {
        const respond = (context: CallContext) => handler.handle(call.request, context);
        void runStreaming(state, path, call, respond);
      }, "serverStream");
      break;
    case "duplex":
      register((call: DuplexCall) => {
        const respond = (context: CallContext) => handler.handle(readRequests(call, context.signal), context);
        void runStreaming(state, path, call, respond);
      }, "bidi");
      break;
  }
}

/** Never throws: the call's status is all that comes out. */
async function runUnary(
  state: ServerState,
  path: string,
  call: SurfaceCall,
  respond: grpc.sendUnaryData<Uint8Array>,
  handle: (request: Buffer, context: CallContext) => Promise<Uint8Array>,
): Promise<void> {
  const gone = abortWhenGone(call);
  state.calls++;
  try {
    checkRoom(state);
    respond(null, asBuffer(await handle(call.request, createContext(state, call, gone.signal))));
  } catch (error) {
    respond(toServiceError(state, path, error, call.cancelled));
  } finally {
    call.removeAllListeners("cancelled"); // It also comes after a normal end.
    state.calls--;
  }
}

/** Never throws: the call's status is all that comes out. */
async function runStreaming(
  state: ServerState,
  path: string,
  call: WritableCall,
  respond: (context: CallContext) => AsyncIterable<WireBytes>,
): Promise<void> {
  const gone = abortWhenGone(call);
  const room = state.unsent.createRoom(createOutlet(state, path, call), gone.signal);
  const active: ActiveCall = { endForDrain: (reason) => gone.abort(reason) };
  state.streaming.add(active);
  state.calls++;
  try {
    checkRoom(state);
    for await (const response of respond(createContext(state, call, gone.signal))) {
      if (call.cancelled) break;
      await room.send(response);
    }
    call.end();
  } catch (error) {
    // Sends the status behind all responses; `destroy` would send none. [grpc-js: ServerWritableStreamImpl]
    call.emit("error", toServiceError(state, path, error, call.cancelled));
  } finally {
    call.removeAllListeners("cancelled"); // It also comes after a normal end, when all is sent.
    if (call.cancelled) room.forget();
    else call.once("cancelled", () => room.forget());
    state.streaming.delete(active);
    state.calls--;
  }
}

function abortWhenGone(call: EventEmitter): AbortController {
  const gone = new AbortController();
  call.on("cancelled", () => gone.abort());
  return gone;
}

function checkRoom(state: ServerState): void {
  if (state.draining !== undefined) throw state.draining;
  if (state.calls > state.callsMax) {
    throw new VaultError(
      "overloaded",
      `this node handles ${state.callsMax} calls already: slow down, or go to another`,
    );
  }
}

/** How the responses of a call get out. */
function createOutlet(state: ServerState, path: string, call: WritableCall): Outlet {
  return {
    write(response, onSent) {
      const message = toOutgoing(response);
      call.write(message as WireBytes as Buffer, (error: Error | null | undefined) => {
        // Of what failed the system may still have a part.
        if (error === null || error === undefined) message.free();
        onSent();
      });
    },
    // A status would wait behind what the client does not take. grpc-js has no way to drop that, so its HTTP/2 stream is
    // closed, with the code that clients take for RESOURCE_EXHAUSTED. [grpc-js 1.14] A test sees to it that this works.
    cutOff() {
      state.log.warn("a client took nothing while others waited: its call is ended", { path, peer: call.getPeer() });
      const { stream } = (call as unknown as { call: { stream: ServerHttp2Stream } }).call;
      stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM);
    },
  };
}

/** The requests of a duplex call. Ends at the half-close, throws the signal's reason when it is aborted. */
async function* readRequests(call: DuplexCall, signal: AbortSignal): AsyncGenerator<Buffer> {
  readOneAhead(call);
  let wake: (() => void) | undefined;
  const onEvent = () => wake?.();
  call.on("readable", onEvent).on("end", onEvent);
  signal.addEventListener("abort", onEvent, { once: true });
  for (;;) {
    signal.throwIfAborted();
    const request = call.read() as Buffer | null;
    if (request !== null) yield request;
    else if (call.readableEnded) return;
    else await new Promise<void>((resolve) => (wake = resolve));
  }
}

/**
 * grpc-js makes its streams with room for 16 messages, which here can be 8 MiB each, and has no option for it. Node
 * keeps the mark as a plain property, read anew for each decision; a test sees to it that this stays so.
 */
function readOneAhead(call: DuplexCall): void {
  (call as unknown as { _readableState: { highWaterMark: number } })._readableState.highWaterMark = 1;
}

function createContext(state: ServerState, call: SurfaceCall | WritableCall, signal: AbortSignal): CallContext {
  const deadline = call.getDeadline();
  const deadlineMs = typeof deadline === "number" ? deadline : deadline.getTime();
  return {
    signal,
    deadlineMs: deadlineMs === Infinity ? undefined : Math.max(0, deadlineMs - state.clock.now()),
    peer: call.getPeer(),
    metadata: { get: (name) => call.metadata.get(name)[0]?.toString() },
    sendMetadata(metadata) {
      const sent = new grpc.Metadata();
      for (const [name, value] of Object.entries(metadata)) sent.set(name, value);
      call.sendMetadata(sent);
    },
  };
}

function toServiceError(state: ServerState, path: string, error: unknown, cancelled: boolean): grpc.ServiceError {
  // A handler that was told to stop may fail in any way; nobody listens.
  if (!cancelled && !(error instanceof VaultError)) state.log.error("call failed", { path, error });
  const { code, message, details } = toStatus(error);
  const metadata = new grpc.Metadata();
  if (details !== undefined) metadata.set(statusDetailsKey, asBuffer(details));
  return Object.assign(new Error(message), { code, details: message, metadata });
}

/**
 * Wraps a library's handlers so that draining ends their streams, and that a client that asks without reading the
 * answers is not answered without bound: requests wait while the answers do.
 */
function trackStreams(
  definition: grpc.ServiceDefinition,
  implementation: grpc.UntypedServiceImplementation,
  state: ServerState,
): grpc.UntypedServiceImplementation {
  const wrapped: grpc.UntypedServiceImplementation = {};
  for (const [name, run] of Object.entries(implementation)) {
    const method = Object.entries(definition).find(([key, { originalName }]) => key === name || originalName === name);
    wrapped[name] = method?.[1].responseStream === true ? trackStream(run, state) : run;
  }
  return wrapped;
}

function trackStream(run: grpc.UntypedHandleCall, state: ServerState): grpc.UntypedHandleCall {
  return (call: DuplexCall) => {
    const end = (reason: VaultError) => call.emit("error", toServiceError(state, call.getPath(), reason, false));
    const active: ActiveCall = { endForDrain: end };
    state.streaming.add(active);
    call.on("cancelled", () => state.streaming.delete(active));
    if ("read" in call) readOneAhead(call);
    const write = call.write.bind(call) as (message: Buffer) => boolean;
    call.write = (message: Buffer) => {
      const hasRoom = call.writableEnded || write(message);
      if (!hasRoom && "read" in call) call.pause().once("drain", () => call.resume());
      return hasRoom;
    };
    (run as (call: DuplexCall) => void)(call);
  };
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
