/** The inverse of `status.ts`: what a status that arrived means to whoever made the call, a client or a forwarder. */
import { fromBinary } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { Code } from "../../gen/google/rpc/code_pb.ts";
import { BadRequestSchema, ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";
import { ResourceInfoSchema, RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";
import type { Status } from "../../gen/google/rpc/status_pb.ts";
import { StatusSchema } from "../../gen/google/rpc/status_pb.ts";
import type { ErrorDetail, ErrorKind } from "../errors.ts";
import { VaultError } from "../errors.ts";
import { errorDomain } from "./status.ts";

/** A status as it arrived. */
export interface ReceivedStatus {
  readonly code: number;
  readonly message: string;
  /** An encoded google.rpc.Status, where the trailers had one. */
  readonly details: Uint8Array | undefined;
}

// What grpc-js says when a call never left this process, as it had no connection to send it on.
const neverSent = /No connection established|Name resolution failed|Channel closed before call started/;

const lastError = /Last error: (?:Error: )?(.+?)\. Resolution note/;
const reasons = /ECONNREFUSED|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|Name resolution failed/;

/**
 * The error that a status from grpc-js's client stands for. Where no connection to `address` could be made nothing was
 * sent, so the kind is `unavailable`, and the message names the address.
 */
export function fromClientStatus(received: ReceivedStatus, address: string): VaultError {
  const { message } = received;
  if (!neverSent.test(message)) return fromStatus(received);
  const reason = reasons.exec(message)?.[0] ?? lastError.exec(message)?.[1] ?? message;
  return new VaultError("unavailable", `no connection to ${address}: ${reason}`, { resource: address });
}

type Condition = NonNullable<ErrorDetail["condition"]>;

const conditions: Readonly<Record<string, Condition>> = {
  ETAG_MISMATCH: "etag",
  SEQUENCE_NUMBER_MISMATCH: "sequenceNumber",
  LEASE_MISMATCH: "lease",
  EXPECTED_OFFSET_MISMATCH: "expectedOffset",
  PRODUCER_SEQUENCE_MISMATCH: "producerSequence",
  INCARNATION_MISMATCH: "incarnation",
};

// What is not here says nothing about what happened to the request.
const kinds: ReadonlyMap<number, ErrorKind> = new Map<number, ErrorKind>([
  [Code.INVALID_ARGUMENT, "invalid"],
  [Code.UNIMPLEMENTED, "invalid"],
  [Code.NOT_FOUND, "notFound"],
  [Code.ALREADY_EXISTS, "alreadyExists"],
  [Code.FAILED_PRECONDITION, "conflict"],
  [Code.OUT_OF_RANGE, "outOfRange"],
  [Code.RESOURCE_EXHAUSTED, "overloaded"],
  [Code.DATA_LOSS, "corrupt"],
  [Code.UNAUTHENTICATED, "unauthenticated"],
  [Code.PERMISSION_DENIED, "denied"],
]);

// How gRPC libraries word that a message is over their limit (grpc-js, Go and C++, Java): sending it again is no use.
const tooLarge = /larger than (max|the limit)|exceeds maximum size/i;

/**
 * The error that a status stands for. UNAVAILABLE is `unavailable` only with the vault's own word that nothing was
 * stored: gRPC libraries say UNAVAILABLE themselves when a connection breaks, and then, as after DEADLINE_EXCEEDED,
 * CANCELLED, INTERNAL and UNKNOWN, the outcome is `indeterminate`.
 */
export function fromStatus(received: ReceivedStatus): VaultError {
  const status = decodeDetails(received.details);
  const info = status?.details
    .map((any) => anyUnpack(any, ErrorInfoSchema))
    .find((found) => found?.domain === errorDomain);
  const detail: Writable<ErrorDetail> = info === undefined ? {} : toDetail(info.reason, info.metadata);
  for (const any of status?.details ?? []) {
    const field = anyUnpack(any, BadRequestSchema)?.fieldViolations[0]?.field;
    if (field !== undefined && field !== "") detail.field = field;
    const resource = anyUnpack(any, ResourceInfoSchema)?.resourceName;
    if (resource !== undefined && resource !== "") detail.resource = resource;
    const delay = anyUnpack(any, RetryInfoSchema)?.retryDelay;
    if (delay !== undefined) detail.retryAfterMs = Number(delay.seconds) * 1000 + delay.nanos / 1e6;
  }
  return new VaultError(toKind(received, info?.reason), received.message, detail);
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };

function toKind({ code, message }: ReceivedStatus, reason: string | undefined): ErrorKind {
  if (code === Code.UNAVAILABLE && reason === "NOT_STORED") return "unavailable";
  if (code === Code.RESOURCE_EXHAUSTED && reason === undefined && tooLarge.test(message)) return "invalid";
  return kinds.get(code) ?? "indeterminate";
}

function toDetail(reason: string, metadata: Readonly<Record<string, string>>): Writable<ErrorDetail> {
  const { resource, leader, ...rest } = metadata;
  const found = Object.entries(rest).map(([name, value]) => [toCamelCase(name), value] as const);
  const condition = conditions[reason];
  return {
    ...(resource === undefined ? {} : { resource }),
    ...(leader === undefined ? {} : { leader }),
    ...(condition === undefined ? {} : { condition }),
    ...(found.length === 0 ? {} : { found: Object.fromEntries(found) }),
  };
}

/** Details that cannot be read say nothing; the code still counts. */
function decodeDetails(bytes: Uint8Array | undefined): Status | undefined {
  if (bytes === undefined) return undefined;
  try {
    return fromBinary(StatusSchema, bytes);
  } catch {
    return undefined;
  }
}

function toCamelCase(name: string): string {
  return name.replace(/_([a-z])/g, (_match, letter: string) => letter.toUpperCase());
}
