import { fromBinary } from "@bufbuild/protobuf";
import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import test from "ava";
import { Code } from "../../gen/google/rpc/code_pb.ts";
import { BadRequestSchema, ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";
import { ResourceInfoSchema, RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";
import { StatusSchema } from "../../gen/google/rpc/status_pb.ts";
import type { ErrorDetail, ErrorKind } from "../../src/errors.ts";
import { VaultError } from "../../src/errors.ts";
import { fromStatus } from "../../src/rpc/from-status.ts";
import type { RpcStatus } from "../../src/rpc/status.ts";
import { retryAfterMsDefault, statusMessageBytesMax, toStatus } from "../../src/rpc/status.ts";

function detailOf<T extends DescMessage>(status: RpcStatus, schema: T): MessageShape<T> | undefined {
  const { details } = fromBinary(StatusSchema, status.details!);
  return details.map((any) => anyUnpack(any, schema)).find((found) => found !== undefined);
}

const table: readonly [ErrorKind, Code, string][] = [
  ["invalid", Code.INVALID_ARGUMENT, "INVALID_REQUEST"],
  ["notFound", Code.NOT_FOUND, "NOT_FOUND"],
  ["alreadyExists", Code.ALREADY_EXISTS, "ALREADY_EXISTS"],
  ["outOfRange", Code.OUT_OF_RANGE, "OUT_OF_RANGE"],
  ["overloaded", Code.RESOURCE_EXHAUSTED, "OVERLOADED"],
  ["unavailable", Code.UNAVAILABLE, "NOT_STORED"],
  ["fenced", Code.UNAVAILABLE, "NOT_STORED"],
  ["indeterminate", Code.UNKNOWN, "OUTCOME_UNKNOWN"],
  ["corrupt", Code.DATA_LOSS, "DATA_DAMAGED"],
  ["unauthenticated", Code.UNAUTHENTICATED, "UNAUTHENTICATED"],
  ["denied", Code.PERMISSION_DENIED, "PERMISSION_DENIED"],
];

for (const [kind, code, reason] of table) {
  test(`status - ${kind} has its code, the vault's ErrorInfo, and comes back as what it means`, (t) => {
    const detail: ErrorDetail = { resource: "s", found: { nextOffset: "7" } };
    const status = toStatus(new VaultError(kind, "what to do", detail));
    t.is(status.code, code);
    t.is(status.message, "what to do");
    const info = detailOf(status, ErrorInfoSchema)!;
    t.is(info.domain, "messagevault");
    t.is(info.reason, reason);
    t.deepEqual(info.metadata, { resource: "s", next_offset: "7" });
    const back = fromStatus(status);
    t.is(back.kind, kind === "fenced" ? "unavailable" : kind);
    t.is(back.message, "what to do");
    t.like(back.detail, detail);
  });
}

const conditions = ["expectedOffset", "producerSequence", "incarnation", "etag", "sequenceNumber", "lease"] as const;
for (const condition of conditions) {
  test(`status - a conflict of ${condition} names it and what was found, there and back`, (t) => {
    const detail: ErrorDetail = { condition, found: { nextOffset: "12" } };
    const status = toStatus(new VaultError("conflict", "no", detail));
    t.is(status.code, Code.FAILED_PRECONDITION);
    const { reason, metadata } = detailOf(status, ErrorInfoSchema)!;
    t.is(reason, `${condition.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}_MISMATCH`);
    t.deepEqual(metadata, { next_offset: "12" });
    t.deepEqual(fromStatus(status).detail, detail);
  });
}

test("status - invalid names the field", (t) => {
  const status = toStatus(new VaultError("invalid", "too long", { field: "records[3].key" }));
  const [violation] = detailOf(status, BadRequestSchema)!.fieldViolations;
  t.like(violation, { field: "records[3].key", description: "too long" });
  t.is(fromStatus(status).detail.field, "records[3].key");
});

test("status - notFound names the stream", (t) => {
  const status = toStatus(new VaultError("notFound", "none", { resource: "orders" }));
  t.like(detailOf(status, ResourceInfoSchema), { resourceType: "stream", resourceName: "orders" });
});

test("status - what may be tried again says when, and who leads", (t) => {
  const given = toStatus(new VaultError("unavailable", "later", { retryAfterMs: 1500, leader: "b:1" }));
  t.like(detailOf(given, RetryInfoSchema)!.retryDelay, { seconds: 1n, nanos: 500_000_000 });
  t.like(fromStatus(given).detail, { retryAfterMs: 1500, leader: "b:1" });
  const silent = toStatus(new VaultError("overloaded", "later"));
  t.is(fromStatus(silent).detail.retryAfterMs, retryAfterMsDefault);
});

test("status - an error that is no VaultError tells nothing", (t) => {
  const status = toStatus(new Error("AccountKey=abc"));
  t.is(status.code, Code.INTERNAL);
  t.notRegex(status.message, /abc/);
  t.is(status.details, undefined);
});

test("status - however long the error, the status fits what clients take in trailers", (t) => {
  const long = "€".repeat(5000);
  const status = toStatus(new VaultError("invalid", long, { field: long, found: { a: long, b: long } }));
  t.true(Buffer.byteLength(status.message) <= statusMessageBytesMax);
  t.regex(status.message, /^€+…$/);
  t.true(encodeURI(status.message).length + status.details!.length * (4 / 3) < 8192);
});

for (const code of [
  Code.UNAVAILABLE,
  Code.DEADLINE_EXCEEDED,
  Code.CANCELLED,
  Code.INTERNAL,
  Code.UNKNOWN,
  Code.ABORTED,
]) {
  test(`status - ${code} without the vault's word leaves the outcome open`, (t) => {
    t.is(fromStatus({ code, message: "", details: undefined }).kind, "indeterminate");
  });
}

test("status - details that cannot be read are passed over", (t) => {
  const details = Buffer.from([0xff, 0xff, 0xff]);
  t.is(fromStatus({ code: Code.NOT_FOUND, message: "no", details }).kind, "notFound");
  t.is(fromStatus({ code: Code.UNAVAILABLE, message: "no", details }).kind, "indeterminate");
});

test("status - a library's word that a message is too large is not worth a retry", (t) => {
  const message = "Received message larger than max (9000000 vs 8388608)";
  t.is(fromStatus({ code: Code.RESOURCE_EXHAUSTED, message, details: undefined }).kind, "invalid");
  t.is(fromStatus({ code: Code.RESOURCE_EXHAUSTED, message: "quota", details: undefined }).kind, "overloaded");
});
