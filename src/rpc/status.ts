/**
 * The one mapping from VaultError to gRPC status. `from-status.ts` is its inverse.
 *
 * Every status of the vault's own carries an ErrorInfo of the domain `messagevault`: that is how clients tell it from
 * one that a gRPC library or a proxy made up. What an error found goes into the ErrorInfo's metadata, by names in
 * snake_case as in the API.
 */
import { create, toBinary } from "@bufbuild/protobuf";
import type { Any } from "@bufbuild/protobuf/wkt";
import { anyPack, DurationSchema } from "@bufbuild/protobuf/wkt";
import { Code } from "../../gen/google/rpc/code_pb.ts";
import { BadRequestSchema, ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";
import { ResourceInfoSchema, RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";
import { StatusSchema } from "../../gen/google/rpc/status_pb.ts";
import type { ErrorDetail, ErrorKind } from "../errors.ts";
import { VaultError } from "../errors.ts";

/** The domain of the vault's ErrorInfo. */
export const errorDomain = "messagevault";

/** The metadata key of the status details, by gRPC's convention. */
export const statusDetailsKey = "grpc-status-details-bin";

/** When to try again where the error does not say, in milliseconds. */
export const retryAfterMsDefault = 200;

/**
 * The most bytes of a message in a status. It travels up to three times, in trailers that some clients limit to 8 KiB
 * in all (grpc-java's default for inbound metadata).
 */
export const statusMessageBytesMax = 768;

/** The most bytes of one value in the details. */
export const detailBytesMax = 256;

/** How a call ends, as every gRPC library can send it. */
export interface RpcStatus {
  readonly code: Code;
  readonly message: string;
  /** An encoded google.rpc.Status; undefined where there is nothing to add. */
  readonly details: Uint8Array | undefined;
}

const codes: Readonly<Record<ErrorKind, Code>> = {
  invalid: Code.INVALID_ARGUMENT,
  notFound: Code.NOT_FOUND,
  alreadyExists: Code.ALREADY_EXISTS,
  conflict: Code.FAILED_PRECONDITION,
  outOfRange: Code.OUT_OF_RANGE,
  overloaded: Code.RESOURCE_EXHAUSTED,
  unavailable: Code.UNAVAILABLE,
  fenced: Code.UNAVAILABLE,
  indeterminate: Code.UNKNOWN,
  corrupt: Code.DATA_LOSS,
  unauthenticated: Code.UNAUTHENTICATED,
  denied: Code.PERMISSION_DENIED,
};

const reasons: Readonly<Record<Exclude<ErrorKind, "conflict">, string>> = {
  invalid: "INVALID_REQUEST",
  notFound: "NOT_FOUND",
  alreadyExists: "ALREADY_EXISTS",
  outOfRange: "OUT_OF_RANGE",
  overloaded: "OVERLOADED",
  unavailable: "NOT_STORED",
  fenced: "NOT_STORED",
  indeterminate: "OUTCOME_UNKNOWN",
  corrupt: "DATA_DAMAGED",
  unauthenticated: "UNAUTHENTICATED",
  denied: "PERMISSION_DENIED",
};

/** The status that a call ends with for this error. An error that is no VaultError tells nothing of its inside. */
export function toStatus(error: unknown): RpcStatus {
  if (!(error instanceof VaultError)) {
    return {
      code: Code.INTERNAL,
      message: "the vault failed to handle this call; its log says why",
      details: undefined,
    };
  }
  const code = toCode(error);
  const message = clip(error.message, statusMessageBytesMax);
  const details = toBinary(StatusSchema, create(StatusSchema, { code, message, details: packDetails(error, message) }));
  return { code, message, details };
}

/** The code of that status. */
export function toCode(error: unknown): Code {
  return error instanceof VaultError ? codes[error.kind] : Code.INTERNAL;
}

/** The reason in the ErrorInfo: for a conflict the condition that failed, else one per code. */
export function toReason(kind: ErrorKind, condition: ErrorDetail["condition"]): string {
  if (kind !== "conflict") return reasons[kind];
  return `${toSnakeCase(condition ?? "condition").toUpperCase()}_MISMATCH`;
}

/** `nextOffset` → `next_offset`. */
export function toSnakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function packDetails(error: VaultError, message: string): Any[] {
  const { kind, detail } = error;
  const packed = [packErrorInfo(kind, detail)];
  if (kind === "invalid") {
    const fieldViolations = [{ field: clip(detail.field ?? "", detailBytesMax), description: message }];
    packed.push(anyPack(BadRequestSchema, create(BadRequestSchema, { fieldViolations })));
  }
  if (kind === "notFound" || kind === "alreadyExists") {
    const resourceName = clip(detail.resource ?? "", detailBytesMax);
    packed.push(anyPack(ResourceInfoSchema, create(ResourceInfoSchema, { resourceType: "stream", resourceName })));
  }
  if (kind === "overloaded" || kind === "unavailable" || kind === "fenced") {
    const retryDelay = durationOf(detail.retryAfterMs ?? retryAfterMsDefault);
    packed.push(anyPack(RetryInfoSchema, create(RetryInfoSchema, { retryDelay })));
  }
  return packed;
}

function packErrorInfo(kind: ErrorKind, detail: ErrorDetail): Any {
  const metadata: Record<string, string> = {};
  if (detail.resource !== undefined) metadata["resource"] = clip(detail.resource, detailBytesMax);
  if (detail.leader !== undefined) metadata["leader"] = clip(detail.leader, detailBytesMax);
  for (const [name, value] of Object.entries(detail.found ?? {})) {
    metadata[toSnakeCase(name)] = clip(value, detailBytesMax);
  }
  const reason = toReason(kind, detail.condition);
  return anyPack(ErrorInfoSchema, create(ErrorInfoSchema, { reason, domain: errorDomain, metadata }));
}

function durationOf(delayMs: number) {
  const seconds = Math.floor(delayMs / 1000);
  return create(DurationSchema, { seconds: BigInt(seconds), nanos: Math.round((delayMs - seconds * 1000) * 1e6) });
}

/** Cuts a text to so many bytes of UTF-8. Also mends half surrogate pairs, which gRPC libraries cannot encode. */
function clip(text: string, bytesMax: number): string {
  const wellFormed = text.toWellFormed();
  if (Buffer.byteLength(wellFormed) <= bytesMax) return wellFormed;
  const mark = "…";
  // A cut within a character leaves replacement characters at the end.
  const kept = Buffer.from(wellFormed).subarray(0, bytesMax - Buffer.byteLength(mark));
  return kept.toString("utf8").replace(/\uFFFD+$/, "") + mark;
}
