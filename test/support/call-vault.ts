/** Calls on the wire, with nothing of the client between: for what a status says, to the last detail. */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { DescMessage, DescMethod, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import type { Duration } from "@bufbuild/protobuf/wkt";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { status as grpcStatus } from "@grpc/grpc-js";
import type { CallOptions, Metadata } from "@grpc/grpc-js";
import type { ExecutionContext } from "ava";
import { BadRequestSchema, ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";
import { ResourceInfoSchema, RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";
import { StatusSchema } from "../../gen/google/rpc/status_pb.ts";
import { methodPath } from "../../src/rpc/handlers.ts";
import { createRawClient, readAll } from "./create-rpc-server.ts";
import type { RawClient } from "./create-rpc-server.ts";

/** How a call ended: its status and what the details say. What is not there is undefined. */
export interface CallStatus {
  /** By name, such as NOT_FOUND. */
  readonly code: string;
  readonly message: string;
  readonly reason: string | undefined;
  readonly domain: string | undefined;
  readonly metadata: Readonly<Record<string, string>> | undefined;
  /** The paths of the fields that BadRequest names. */
  readonly fields: readonly string[] | undefined;
  readonly resource: { readonly type: string; readonly name: string } | undefined;
  readonly retryAfterMs: number | undefined;
}

/** A unary answer, or how the call failed. */
export type Answer<O extends DescMessage> =
  | { readonly response: MessageShape<O>; readonly status?: undefined }
  | { readonly response?: undefined; readonly status: CallStatus };

type Method<I extends DescMessage, O extends DescMessage> = DescMethod & { readonly input: I; readonly output: O };

/** Calls on one connection. */
export interface VaultCaller {
  readonly raw: RawClient;
  /** Calls a unary method. Never rejects. */
  call<I extends DescMessage, O extends DescMessage>(
    method: Method<I, O>,
    request: MessageInitShape<I> | Uint8Array,
    options?: CallOptions,
  ): Promise<Answer<O>>;
  /** Calls a unary method that must fail; resolves to how. */
  fail<I extends DescMessage, O extends DescMessage>(
    method: Method<I, O>,
    request: MessageInitShape<I> | Uint8Array,
  ): Promise<CallStatus>;
  /** Calls a server-streaming method and reads it to its end. */
  stream<I extends DescMessage, O extends DescMessage>(
    method: Method<I, O>,
    request: MessageInitShape<I> | Uint8Array,
    options?: CallOptions,
  ): Promise<{ readonly responses: MessageShape<O>[]; readonly status: CallStatus }>;
}

/** A connection of its own to a vault, for as long as `t`. */
export function createCaller(t: ExecutionContext, { endpoint }: { readonly endpoint: string }): VaultCaller {
  const raw = createRawClient(t, endpoint);
  const caller: VaultCaller = {
    raw,
    async call(method, request, options) {
      try {
        const bytes = await raw.unary(methodPath(method), encode(method.input, request), options);
        return { response: fromBinary(method.output, bytes) };
      } catch (error) {
        return { status: readStatus(error as ReceivedStatus) };
      }
    },
    async fail(method, request) {
      const { status } = await caller.call(method, request);
      if (status === undefined) throw new Error(`${method.name} succeeded`);
      return status;
    },
    async stream(method, request, options) {
      const call = raw.serverStream(methodPath(method), encode(method.input, request), options);
      const { responses, status } = await readAll(call);
      return { responses: responses.map((bytes) => fromBinary(method.output, bytes)), status: readStatus(status) };
    },
  };
  return caller;
}

/** A request as bytes; bytes stay as they are. */
export function encode<I extends DescMessage>(schema: I, request: MessageInitShape<I> | Uint8Array): Uint8Array {
  return request instanceof Uint8Array ? request : toBinary(schema, create(schema, request));
}

interface ReceivedStatus {
  readonly code: number;
  readonly details: string;
  readonly metadata: Metadata;
}

/** Reads a status as grpc-js gives it. */
export function readStatus({ code, details: message, metadata }: ReceivedStatus): CallStatus {
  const [bytes] = metadata.get("grpc-status-details-bin");
  const details = bytes === undefined ? [] : fromBinary(StatusSchema, bytes as Buffer).details;
  const find = <T extends DescMessage>(schema: T) => {
    for (const any of details) {
      const found = anyUnpack(any, schema);
      if (found !== undefined) return found;
    }
    return undefined;
  };
  const info = find(ErrorInfoSchema);
  const resource = find(ResourceInfoSchema);
  return {
    code: grpcStatus[code] ?? String(code),
    message,
    reason: info?.reason,
    domain: info?.domain,
    metadata: info?.metadata,
    fields: find(BadRequestSchema)?.fieldViolations.map(({ field }) => field),
    resource: resource && { type: resource.resourceType, name: resource.resourceName },
    retryAfterMs: toMs(find(RetryInfoSchema)?.retryDelay),
  };
}

function toMs(duration: Duration | undefined): number | undefined {
  return duration && Number(duration.seconds) * 1000 + duration.nanos / 1e6;
}
