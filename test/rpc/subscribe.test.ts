import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { status } from "@grpc/grpc-js";
import type { StatusObject } from "@grpc/grpc-js";
import test from "ava";
import { SubscribeRequestSchema, SubscribeResponseSchema, VaultService } from "../../gen/messagevault/v1/vault_pb.ts";
import { VaultError } from "../../src/errors.ts";
import { fromStatus } from "../../src/rpc/from-status.ts";
import { methodPath } from "../../src/rpc/handlers.ts";
import { statusDetailsKey } from "../../src/rpc/status.ts";
import { parseSubscribeRequest } from "../../src/rpc/subscribe-request.ts";
import { createVaultHandlers } from "../../src/rpc/vault-service.ts";
import type { Delivery, SubscribeCommand } from "../../src/stream/commands.ts";
import { createRawClient, createRpcServer, readAll } from "../support/create-rpc-server.ts";
import { createVaultApi } from "../support/create-vault-api.ts";

type RequestInit = MessageInitShape<typeof SubscribeRequestSchema>;

const limits = { recordBytesMax: 1024 * 1024, keyBytesMax: 1024, batchBytesMax: 4 * 1024 * 1024 };
const path = methodPath(VaultService.method.subscribe);

function encode(request: RequestInit): Uint8Array {
  return toBinary(SubscribeRequestSchema, create(SubscribeRequestSchema, { stream: "s", ...request }));
}

function heartbeat(nextOffset: bigint): Delivery {
  return {
    payload: [],
    nextOffset,
    tailOffset: nextOffset,
    tailTimestamp: undefined,
    completeUntil: undefined,
    caughtUp: true,
    incarnation: "i",
  };
}

function errorOf({ code, details: message, metadata }: StatusObject): VaultError {
  return fromStatus({ code, message, details: metadata.get(statusDetailsKey)[0] as Buffer | undefined });
}

const second = 1_700_000_000n;
const readings: readonly [string, RequestInit, Partial<SubscribeCommand>][] = [
  ["nothing said", {}, { start: { at: "latest" }, end: { at: "never" }, heartbeatMs: 10_000, incarnation: undefined }],
  [
    "earliest to the tail",
    { start: { case: "earliest", value: {} }, end: { case: "untilTail", value: {} } },
    { start: { at: "earliest" }, end: { at: "tail" } },
  ],
  [
    "an offset above 2^53",
    { start: { case: "offset", value: 2n ** 60n } },
    { start: { at: "offset", offset: 2n ** 60n } },
  ],
  [
    "the last n, so many records",
    { start: { case: "last", value: 5n }, end: { case: "maxRecords", value: 3n } },
    { start: { at: "last", count: 5n }, end: { at: "count", count: 3n } },
  ],
  [
    "times with nanoseconds, which round up",
    {
      start: { case: "timestamp", value: { seconds: second, nanos: 1_000_001 } },
      end: { case: "untilTimestamp", value: { seconds: second, nanos: 2_000_000 } },
    },
    {
      start: { at: "timestamp", timestamp: Number(second) * 1000 + 2 },
      end: { at: "timestamp", timestamp: Number(second) * 1000 + 2 },
    },
  ],
  [
    "a time before 1970",
    { start: { case: "timestamp", value: { seconds: -1n, nanos: 0 } } },
    { start: { at: "timestamp", timestamp: 0 } },
  ],
  ["an incarnation", { incarnation: "abc" }, { incarnation: "abc" }],
  ["the shortest heartbeat", { heartbeatInterval: { seconds: 0n, nanos: 100_000_000 } }, { heartbeatMs: 100 }],
  ["the longest heartbeat", { heartbeatInterval: { seconds: 300n, nanos: 0 } }, { heartbeatMs: 300_000 }],
];

for (const [title, request, expected] of readings) {
  test(`Subscribe request - ${title}`, (t) => {
    t.like(parseSubscribeRequest(encode(request)), expected);
  });
}

const refusals: readonly [string, RequestInit][] = [
  ["stream", { stream: "" }],
  ["stream", { stream: "../x" }],
  ["stream", { stream: "a".repeat(129) }],
  ["key_prefix", { keyPrefix: new Uint8Array(1025) }],
  ["max_records", { end: { case: "maxRecords", value: 0n } }],
  ["timestamp", { start: { case: "timestamp", value: { seconds: 253_402_300_800n, nanos: 0 } } }],
  ["timestamp", { start: { case: "timestamp", value: { seconds: 0n, nanos: -1 } } }],
  ["until_timestamp", { end: { case: "untilTimestamp", value: { seconds: 0n, nanos: 1_000_000_000 } } }],
  ["heartbeat_interval", { heartbeatInterval: { seconds: 0n, nanos: 99_000_000 } }],
  ["heartbeat_interval", { heartbeatInterval: { seconds: 300n, nanos: 1 } }],
  ["heartbeat_interval", { heartbeatInterval: { seconds: -1n, nanos: 0 } }],
];

for (const [index, [field, request]] of refusals.entries()) {
  test(`Subscribe request - ${field} is refused by its name (${index})`, (t) => {
    const error = t.throws(() => parseSubscribeRequest(encode(request)), { instanceOf: VaultError });
    t.is(error.kind, "invalid");
    t.is(error.detail.field, field);
    t.true(error.message.startsWith(field));
  });
}

test("Subscribe request - bytes that are no message are invalid", (t) => {
  const error = t.throws(() => parseSubscribeRequest(Buffer.from([0x0a, 0xff])), { instanceOf: VaultError });
  t.is(error.kind, "invalid");
});

test("Subscribe - the requested end is OK", async (t) => {
  const vault = createVaultApi({
    async *subscribe() {
      yield heartbeat(3n);
      yield heartbeat(4n);
    },
  });
  const { address } = await createRpcServer(t, createVaultHandlers(vault, limits));
  const { responses, status: end } = await readAll(createRawClient(t, address).serverStream(path, encode({})));
  t.deepEqual(
    responses.map((bytes) => fromBinary(SubscribeResponseSchema, bytes).nextOffset),
    [3n, 4n],
  );
  t.is(end.code, status.OK);
});

test("Subscribe - a failure on the way says where to resume", async (t) => {
  const vault = createVaultApi({
    async *subscribe() {
      yield heartbeat(7n);
      throw new VaultError("corrupt", "damaged", { resource: "s", found: { position: "4096" } });
    },
  });
  const { address } = await createRpcServer(t, createVaultHandlers(vault, limits));
  const { status: end } = await readAll(createRawClient(t, address).serverStream(path, encode({})));
  t.is(end.code, status.DATA_LOSS);
  t.deepEqual(errorOf(end).detail, { resource: "s", found: { position: "4096", nextOffset: "7" } });
});

test("Subscribe - OUT_OF_RANGE on the way keeps the stream's bounds", async (t) => {
  const found = { first_offset: "100", next_offset: "200" };
  const vault = createVaultApi({
    async *subscribe() {
      yield heartbeat(7n);
      throw new VaultError("outOfRange", "trimmed", { found });
    },
  });
  const { address } = await createRpcServer(t, createVaultHandlers(vault, limits));
  const { status: end } = await readAll(createRawClient(t, address).serverStream(path, encode({})));
  t.is(end.code, status.OUT_OF_RANGE);
  t.deepEqual(errorOf(end).detail.found, { firstOffset: "100", nextOffset: "200" });
});

for (const [title, atAbort] of [
  ["returns", () => {}],
  ["throws", (signal: AbortSignal) => signal.throwIfAborted()],
] as const) {
  test(`Subscribe - a drain ends with UNAVAILABLE and the next offset, where the vault ${title} at the abort`, async (t) => {
    const vault = createVaultApi({
      async *subscribe(_command, signal) {
        yield heartbeat(9n);
        await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
        atAbort(signal);
      },
    });
    const { server, address } = await createRpcServer(t, createVaultHandlers(vault, limits));
    const call = createRawClient(t, address).serverStream(path, encode({}));
    const all = readAll(call);
    await new Promise((resolve) => call.once("data", resolve));
    t.true(await server.drain(10_000));
    const { status: end } = await all;
    t.is(end.code, status.UNAVAILABLE);
    t.like(errorOf(end), { kind: "unavailable" });
    t.is(errorOf(end).detail.found?.["nextOffset"], "9");
  });
}
