import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { status } from "@grpc/grpc-js";
import type { StatusObject } from "@grpc/grpc-js";
import type { ExecutionContext } from "ava";
import test from "ava";
import { PublishRequestSchema, PublishResponseSchema, VaultService } from "../../gen/messagevault/v1/vault_pb.ts";
import { VaultError } from "../../src/errors.ts";
import { fromStatus } from "../../src/rpc/from-status.ts";
import { methodPath } from "../../src/rpc/handlers.ts";
import { requestsInFlightMax } from "../../src/rpc/publish-stream.ts";
import { statusDetailsKey } from "../../src/rpc/status.ts";
import { createVaultHandlers } from "../../src/rpc/vault-service.ts";
import type { VaultApi } from "../../src/stream/commands.ts";
import { createRawClient, createRpcServer, readAll } from "../support/create-rpc-server.ts";
import { createVault } from "../support/create-vault.ts";
import { createPendingPublish, createVaultApi } from "../support/create-vault-api.ts";
import { waitUntil } from "../support/wait-until.ts";

const MiB = 1024 ** 2;
const limits = { recordBytesMax: MiB, keyBytesMax: 1024, batchBytesMax: 4 * MiB };

function encodeRequest(stream: string, value = "v"): Uint8Array {
  const records = [{ value: Buffer.from(value) }];
  return toBinary(PublishRequestSchema, create(PublishRequestSchema, { stream, records }));
}

async function startPublishing(t: ExecutionContext, methods: Partial<VaultApi>) {
  const { server, address } = await createRpcServer(t, createVaultHandlers(createVaultApi(methods), limits));
  const call = createRawClient(t, address).duplex(methodPath(VaultService.method.publishStream));
  return { server, call, all: readAll(call) };
}

function offsetsOf(responses: Buffer[]): bigint[] {
  return responses.map((bytes) => fromBinary(PublishResponseSchema, bytes).firstOffset);
}

function errorOf({ code, details: message, metadata }: StatusObject): VaultError {
  return fromStatus({ code, message, details: metadata.get(statusDetailsKey)[0] as Buffer | undefined });
}

test("PublishStream - answers come in the order of the requests, also where the vault answers otherwise", async (t) => {
  const { publish, pending } = createPendingPublish();
  const { call, all } = await startPublishing(t, { publish });
  for (const stream of ["a", "b", "a"]) call.write(encodeRequest(stream));
  call.end();
  await waitUntil(() => pending.length === 3, "three publishes are pending");
  t.deepEqual(
    pending.map(({ command }) => command.stream),
    ["a", "b", "a"],
  );
  pending[1]!.resolve(20n);
  pending[0]!.resolve(10n);
  pending[2]!.resolve(11n);
  const { responses, status: end } = await all;
  t.deepEqual(offsetsOf(responses), [10n, 20n, 11n]);
  t.is(end.code, status.OK);
});

test("PublishStream - no more than the named number of requests are in flight", async (t) => {
  const { publish, pending } = createPendingPublish();
  const { call, all } = await startPublishing(t, { publish });
  const count = requestsInFlightMax + 10;
  for (let i = 0; i < count; i++) call.write(encodeRequest("a", `${i}`));
  call.end();
  await waitUntil(() => pending.length === requestsInFlightMax, "all places are taken");
  pending[0]!.resolve(0n);
  await waitUntil(() => pending.length === requestsInFlightMax + 1, "one more is read when one is answered");
  for (let i = 1; i < count; i++) {
    await waitUntil(() => pending.length > i, "the next is pending");
    pending[i]!.resolve(BigInt(i));
  }
  const { responses } = await all;
  t.deepEqual(
    offsetsOf(responses),
    Array.from({ length: count }, (_, i) => BigInt(i)),
  );
});

test("PublishStream - a request waits for the vault to have room, and answers go out meanwhile", async (t) => {
  const { publish, pending } = createPendingPublish();
  let open = () => {};
  const gate = new Promise<void>((resolve) => (open = resolve));
  let asked = 0;
  const publishRoom = async () => {
    if (asked++ > 0) await gate;
    return { release() {} };
  };
  const { call, all } = await startPublishing(t, { publish, publishRoom });
  for (let i = 0; i < 3; i++) call.write(encodeRequest("a"));
  call.end();
  await waitUntil(() => asked === 2, "the second request asks for room");
  const first = new Promise((resolve) => call.once("data", resolve));
  pending[0]!.resolve(0n);
  await first;
  t.is(pending.length, 1);
  open();
  await waitUntil(() => pending.length === 3, "the rest is published");
  pending[1]!.resolve(1n);
  pending[2]!.resolve(2n);
  t.is((await all).status.code, status.OK);
});

test("PublishStream - a failure with nothing stored behind it ends the call with its own status", async (t) => {
  const { publish, pending } = createPendingPublish();
  const { call, all } = await startPublishing(t, { publish });
  for (let i = 0; i < 3; i++) call.write(encodeRequest("a"));
  await waitUntil(() => pending.length === 3, "three publishes are pending");
  pending[0]!.resolve(0n);
  pending[1]!.reject(
    new VaultError("conflict", "gap", { condition: "producerSequence", found: { last_sequence: "4" } }),
  );
  pending[2]!.reject(new VaultError("unavailable", "shut"));
  const { responses, status: end } = await all;
  t.deepEqual(offsetsOf(responses), [0n]);
  t.is(end.code, status.FAILED_PRECONDITION);
  t.deepEqual(errorOf(end).detail, { condition: "producerSequence", found: { lastSequence: "4" } });
});

for (const [title, settle] of [
  ["is stored", (publish: { resolve(offset: bigint): void }) => publish.resolve(9n)],
  ["may be stored", (publish: { reject(error: Error): void }) => publish.reject(new VaultError("indeterminate", "?"))],
  ["fails in an unexpected way", (publish: { reject(error: Error): void }) => publish.reject(new Error("?"))],
] as const) {
  test(`PublishStream - a failure while a request behind it ${title} is UNKNOWN, once that is settled`, async (t) => {
    const { publish, pending } = createPendingPublish();
    const { call, all } = await startPublishing(t, { publish });
    for (let i = 0; i < 2; i++) call.write(encodeRequest("a"));
    await waitUntil(() => pending.length === 2, "two publishes are pending");
    let ended = false;
    void all.then(() => (ended = true));
    pending[0]!.reject(new VaultError("conflict", "gap"));
    call.write(encodeRequest("a"));
    await new Promise((resolve) => setImmediate(resolve));
    t.false(ended);
    settle(pending[1]!);
    const { responses, status: end } = await all;
    t.is(responses.length, 0);
    t.is(end.code, status.UNKNOWN);
    t.like(errorOf(end), { kind: "indeterminate" });
    t.is(errorOf(end).detail.found?.["failedRequest"], "0");
    t.is(pending.length, 2);
  });
}

test("PublishStream - nothing more is published once a request is refused, though its turn is still to come", async (t) => {
  const { publish, pending } = createPendingPublish();
  let rooms = 0;
  let released = 0;
  const publishRoom = async () => {
    rooms++;
    return { release: () => void released++ };
  };
  const { call, all } = await startPublishing(t, { publish, publishRoom });
  for (const stream of ["a", "b"]) call.write(encodeRequest(stream));
  await waitUntil(() => pending.length === 2, "two publishes are pending");
  pending[1]!.reject(new VaultError("notFound", "none", { resource: "b" }));
  call.write(encodeRequest("a"));
  await waitUntil(() => rooms === 3, "the third request is read");
  pending[0]!.resolve(0n);
  const { responses, status: end } = await all;
  t.is(responses.length, 1);
  t.is(end.code, status.NOT_FOUND);
  t.is(pending.length, 2);
  t.is(released, 3, "what was read and not published keeps no room");
});

test("PublishStream - a bad request fails behind the answers of those before it, and names the field", async (t) => {
  const { publish, pending } = createPendingPublish();
  const { call, all } = await startPublishing(t, { publish });
  call.write(encodeRequest("a"));
  call.write(encodeRequest("a."));
  call.write(encodeRequest("a"));
  await waitUntil(() => pending.length === 1, "the first is pending");
  pending[0]!.resolve(0n);
  const { responses, status: end } = await all;
  t.is(responses.length, 1);
  t.is(end.code, status.INVALID_ARGUMENT);
  t.is(errorOf(end).detail.field, "stream");
  t.is(pending.length, 1);
});

test("PublishStream - a drain answers what is pending, then ends with NOT_STORED for the rest", async (t) => {
  const { publish, pending } = createPendingPublish();
  const { server, call, all } = await startPublishing(t, { publish });
  call.write(encodeRequest("a"));
  await waitUntil(() => pending.length === 1, "one publish is pending");
  const drained = server.drain(10_000);
  call.write(encodeRequest("a"));
  pending[0]!.resolve(5n);
  const { responses, status: end } = await all;
  t.deepEqual(offsetsOf(responses), [5n]);
  t.is(end.code, status.UNAVAILABLE);
  t.is(errorOf(end).kind, "unavailable");
  t.is(pending.length, 1);
  t.true(await drained);
});

test("PublishStream - a cancel publishes nothing more", async (t) => {
  const { publish, pending } = createPendingPublish();
  let signal: AbortSignal | undefined;
  let released = 0;
  const publishRoom = async (_stream: string, _bytes: number, callSignal: AbortSignal) => {
    // As the vault does it for the second request: there is room only when nobody wants it any more.
    if (signal !== undefined) await new Promise((resolve) => callSignal.addEventListener("abort", resolve));
    signal = callSignal;
    return { release: () => void released++ };
  };
  const { call } = await startPublishing(t, { publish, publishRoom });
  for (let i = 0; i < 2; i++) call.write(encodeRequest("a"));
  await waitUntil(() => pending.length === 1, "one publish is pending");
  call.cancel();
  await waitUntil(() => signal!.aborted, "the call is known to be cancelled");
  pending[0]!.resolve(0n);
  await waitUntil(() => released === 2, "the room of both is given back");
  t.is(pending.length, 1);
});

test("Publish - a batch goes to the vault and its place comes back", async (t) => {
  const { publish, pending } = createPendingPublish();
  const { address } = await createRpcServer(t, createVaultHandlers(createVaultApi({ publish }), limits));
  const answer = createRawClient(t, address).unary(methodPath(VaultService.method.publish), encodeRequest("a"));
  await waitUntil(() => pending.length === 1, "the publish is pending");
  pending[0]!.resolve(41n);
  const response = fromBinary(PublishResponseSchema, await answer);
  t.like(response, { firstOffset: 41n, nextOffset: 42n, duplicate: false, incarnation: "0".repeat(32) });
  t.is(response.timestamp?.seconds, BigInt(Date.UTC(2026, 0, 1) / 1000));
});

test.serial("PublishStream - many that come with large requests at the limit wait, and none is refused", async (t) => {
  t.timeout(60_000);
  const { endpoint } = await createVault(t, { pendingBytesMax: 4 * MiB, streamPendingBytesMax: 4 * MiB });
  const value = "x".repeat(MiB - 100);
  const calls = Array.from({ length: 12 }, async () => {
    const call = createRawClient(t, endpoint).duplex(methodPath(VaultService.method.publishStream));
    const all = readAll(call);
    for (let i = 0; i < 2; i++) call.write(encodeRequest("a", value));
    call.end();
    return all;
  });
  for (const { responses, status: end } of await Promise.all(calls)) {
    t.is(end.code, status.OK, end.details);
    t.is(responses.length, 2);
  }
});
