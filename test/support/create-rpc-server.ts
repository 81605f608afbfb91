import { connect } from "node:http2";
import type { ClientHttp2Stream } from "node:http2";
import * as grpc from "@grpc/grpc-js";
import type { ExecutionContext } from "ava";
import { systemClock } from "../../src/clock.ts";
import type { Log } from "../../src/log.ts";
import { silentLog } from "../../src/log.ts";
import type { GrpcServer, GrpcServerSettings } from "../../src/rpc/grpc-server.ts";
import { createGrpcServer, grpcServerDefaults } from "../../src/rpc/grpc-server.ts";
import type { HandlerTable } from "../../src/rpc/handlers.ts";

/** A server of these handlers that listens on a free port of this machine until the test ends. */
export async function createRpcServer(
  t: ExecutionContext,
  handlers: HandlerTable,
  settings: Partial<GrpcServerSettings> = {},
  log: Log = silentLog,
): Promise<{ server: GrpcServer; address: string }> {
  // A call that never ends fails its test soon.
  t.timeout(15_000);
  const server = createGrpcServer({ ...grpcServerDefaults, ...settings }, systemClock, log);
  server.addHandlers(handlers);
  const address = await server.listen("127.0.0.1:0");
  t.teardown(() => server.drain(0));
  return { server, address };
}

/** A grpc-js client that sends and receives plain bytes, with a connection of its own. */
export interface RawClient {
  unary(path: string, request: Uint8Array, options?: grpc.CallOptions, metadata?: grpc.Metadata): Promise<Buffer>;
  serverStream(path: string, request: Uint8Array, options?: grpc.CallOptions): grpc.ClientReadableStream<Buffer>;
  duplex(path: string, options?: grpc.CallOptions): grpc.ClientDuplexStream<Uint8Array, Buffer>;
  close(): void;
}

/** A client that closes when the test ends. */
export function createRawClient(
  t: ExecutionContext,
  address: string,
  credentials = grpc.credentials.createInsecure(),
): RawClient {
  const client = new grpc.Client(address, credentials, { "grpc.use_local_subchannel_pool": 1 });
  t.teardown(() => client.close());
  const send = (bytes: Uint8Array) => Buffer.from(bytes);
  const receive = (bytes: Buffer) => bytes;
  return {
    unary: (path, request, options = {}, metadata = new grpc.Metadata()) =>
      new Promise((resolve, reject) => {
        client.makeUnaryRequest(path, send, receive, request, metadata, options, (error, response) => {
          if (error === null) resolve(response!);
          else reject(error);
        });
      }),
    serverStream: (path, request, options = {}) =>
      client.makeServerStreamRequest(path, send, receive, request, options),
    duplex: (path, options = {}) => client.makeBidiStreamRequest(path, send, receive, options),
    close: () => client.close(),
  };
}

/** Reads a streaming call to its end: everything that came, and how it ended. */
export function readAll(
  call: grpc.ClientReadableStream<Buffer> | grpc.ClientDuplexStream<Uint8Array, Buffer>,
): Promise<{ responses: Buffer[]; status: grpc.StatusObject }> {
  return new Promise((resolve) => {
    const responses: Buffer[] = [];
    call.on("data", (response: Buffer) => responses.push(response));
    call.on("error", () => {});
    call.on("status", (status) => resolve({ responses, status }));
    call.resume();
  });
}

/**
 * A call over plain HTTP/2 that takes nothing but its headers until somebody listens for its data: grpc-js's client
 * reads on by itself and keeps what nobody wants.
 */
export function createStalledCall(
  t: ExecutionContext,
  address: string,
  path: string,
  request: Uint8Array,
): ClientHttp2Stream {
  const session = connect(`http://${address}`);
  session.on("error", () => {});
  t.teardown(() => session.destroy());
  const call = session.request({
    ":method": "POST",
    ":path": path,
    "content-type": "application/grpc",
    te: "trailers",
  });
  call.on("error", () => {});
  const head = Buffer.alloc(5);
  head.writeUInt32BE(request.length, 1);
  call.end(Buffer.concat([head, request]));
  return call;
}
