/** Every row of the API's table of status codes, reached on a running vault through gRPC, with its details. */
import { readdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { Metadata } from "@grpc/grpc-js";
import type { ServiceError } from "@grpc/grpc-js";
import test from "ava";
import type { ExecutionContext } from "ava";
import { StreamService } from "../../gen/messagevault/v1/stream_pb.ts";
import { VaultService } from "../../gen/messagevault/v1/vault_pb.ts";
import { azuriteConnectionString } from "../../src/blob/azurite.ts";
import { methodPath } from "../../src/rpc/handlers.ts";
import { forwardedByKey } from "../../src/rpc/leader-route.ts";
import type { CallStatus } from "../support/call-vault.ts";
import { createCaller, encode, readStatus } from "../support/call-vault.ts";
import { createAzurite } from "../support/create-azurite.ts";
import { createDirectory } from "../support/create-directory.ts";
import { createProxy } from "../support/create-proxy.ts";
import { readAll } from "../support/create-rpc-server.ts";
import { createVault } from "../support/create-vault.ts";

const { publish, subscribe } = VaultService.method;
const { createStream, getStream, listStreams, updateStream } = StreamService.method;
const { deleteStream, trimStream, getReadAccess } = StreamService.method;

const records = [{ value: Buffer.from("x") }];

/** The status that a duplex call with one request ends with. */
async function publishStreamStatus(caller: ReturnType<typeof createCaller>, request: Uint8Array): Promise<CallStatus> {
  const call = caller.raw.duplex(methodPath(VaultService.method.publishStream));
  call.write(request);
  call.end();
  return readStatus((await readAll(call)).status);
}

test("status - INVALID_ARGUMENT names the field, whichever it is", async (t) => {
  const caller = createCaller(t, await createVault(t));
  const badName = Buffer.from([0x2a, 0x04, 0x0a, 0x02, 0xc3, 0x28]);
  const record = (...bytes: number[]) => Buffer.from([0x0a, 1, 0x73, 0x12, bytes.length, ...bytes]);
  const refused: [path: string, status: CallStatus][] = [
    ["stream", await caller.fail(publish, { stream: "", records })],
    ["stream", await caller.fail(publish, { stream: "a/b", records })],
    ["stream", await caller.fail(publish, { stream: "x".repeat(129), records })],
    ["records", await caller.fail(publish, { stream: "s" })],
    ["records[1].key", await caller.fail(publish, { stream: "s", records: [...records, { key: Buffer.alloc(1025) }] })],
    ["records[0]", await caller.fail(publish, { stream: "s", records: [{ value: Buffer.alloc(1024 ** 2 + 1) }] })],
    ["records[0].headers.name", await caller.fail(publish, record(...badName))],
    ["records[0].value", await caller.fail(publish, record(0x22, 9, 1))],
    ["records[0].event_time", await caller.fail(publish, { stream: "s", records: [{ eventTime: { nanos: -1 } }] })],
    ["producer.id", await caller.fail(publish, { stream: "s", records, producer: { id: "" } })],
    ["producer.id", await caller.fail(publish, { stream: "s", records, producer: { id: "p".repeat(129) } })],
    ["stream", (await caller.stream(subscribe, { stream: "." })).status],
    ["max_records", (await caller.stream(subscribe, { stream: "s", end: { case: "maxRecords", value: 0n } })).status],
    ["key_prefix", (await caller.stream(subscribe, { stream: "s", keyPrefix: Buffer.alloc(1025) })).status],
    ["heartbeat_interval", (await caller.stream(subscribe, { stream: "s", heartbeatInterval: { nanos: 1 } })).status],
    ["name", await caller.fail(createStream, { name: "." })],
    ["settings.segment_bytes", await caller.fail(createStream, { name: "n", settings: { segmentBytes: 1n } })],
    [
      "settings.segment_age",
      await caller.fail(createStream, { name: "n", settings: { segmentAge: { seconds: -1n } } }),
    ],
    ["update_mask", await caller.fail(updateStream, { name: "n", updateMask: { paths: ["colour"] } })],
    ["page_size", await caller.fail(listStreams, { pageSize: 1001 })],
    ["page_token", await caller.fail(listStreams, { pageToken: "§" })],
    ["prefix", await caller.fail(listStreams, { prefix: "/" })],
    ["before", await caller.fail(trimStream, { name: "n" })],
    ["to_offset", await caller.fail(getReadAccess, { name: "n", fromOffset: 2n, toOffset: 1n })],
    ["stream", await publishStreamStatus(caller, encode(publish.input, { stream: "", records }))],
  ];
  for (const [field, status] of refused) {
    const { code, reason, domain, fields } = status;
    const expected = { code: "INVALID_ARGUMENT", reason: "INVALID_REQUEST", domain: "messagevault", fields: [field] };
    t.deepEqual({ code, reason, domain, fields }, expected, status.message);
  }
  // More than one commit, though no record is too large.
  const megabytes = Array.from({ length: 5 }, () => ({ value: Buffer.alloc(1_000_000) }));
  t.like(await caller.fail(publish, { stream: "s", records: megabytes }), { fields: ["records"] });
  t.like(await caller.fail(publish, Buffer.from([0x0a, 0xff])), { code: "INVALID_ARGUMENT" });
  t.deepEqual((await caller.call(listStreams, {})).response?.names, []);
});

test("status - NOT_FOUND and ALREADY_EXISTS name the stream", async (t) => {
  const caller = createCaller(t, await createVault(t, { autoCreateStreams: false }));
  const offset = { case: "offset", value: 0n } as const;
  const missing = [
    await caller.fail(getStream, { name: "none" }),
    await caller.fail(publish, { stream: "none", records }),
    await publishStreamStatus(caller, encode(publish.input, { stream: "none", records })),
    (await caller.stream(subscribe, { stream: "none" })).status,
    await caller.fail(updateStream, { name: "none", updateMask: { paths: ["*"] } }),
    await caller.fail(deleteStream, { name: "none" }),
    await caller.fail(trimStream, { name: "none", before: offset }),
    await caller.fail(getReadAccess, { name: "none" }),
  ];
  for (const status of missing) {
    t.like(status, { code: "NOT_FOUND", reason: "NOT_FOUND", resource: { type: "stream", name: "none" } });
  }
  await caller.call(createStream, { name: "here" });
  const resource = { type: "stream", name: "here" };
  t.like(await caller.fail(createStream, { name: "here" }), { code: "ALREADY_EXISTS", resource });
});

test("status - FAILED_PRECONDITION says what was found", async (t) => {
  const caller = createCaller(t, await createVault(t));
  const producer = { id: "p", sequence: 7n };
  const first = await caller.call(publish, { stream: "s", records, producer });
  const incarnation = first.response!.incarnation;
  const base = { stream: "s", records };
  t.like(await caller.fail(publish, { ...base, expectedOffset: 5n }), {
    code: "FAILED_PRECONDITION",
    reason: "EXPECTED_OFFSET_MISMATCH",
    metadata: { next_offset: "1" },
  });
  const gap = { ...base, producer: { id: "p", sequence: 9n } };
  const other = { ...base, records: [{ value: Buffer.from("other") }], producer };
  for (const request of [gap, other]) {
    t.like(await caller.fail(publish, request), {
      code: "FAILED_PRECONDITION",
      reason: "PRODUCER_SEQUENCE_MISMATCH",
      metadata: { last_sequence: "7" },
    });
  }
  const old = "0".repeat(32);
  const stale = [
    await caller.fail(publish, { ...base, incarnation: old }),
    (await caller.stream(subscribe, { stream: "s", incarnation: old })).status,
    await caller.fail(deleteStream, { name: "s", incarnation: old }),
    await publishStreamStatus(caller, encode(publish.input, { ...base, incarnation: old })),
  ];
  for (const status of stale) {
    t.like(status, { code: "FAILED_PRECONDITION", reason: "INCARNATION_MISMATCH" });
    t.like(status.metadata, { incarnation });
  }
  const again = await caller.call(publish, { ...base, producer, expectedOffset: 99n });
  t.like(again.response, { duplicate: true, firstOffset: 0n }, "the sequence is looked up before expected_offset");
});

test("status - OUT_OF_RANGE tells the bounds", async (t) => {
  const caller = createCaller(t, await createVault(t));
  await caller.call(publish, { stream: "s", records: [...records, ...records, ...records] });
  await caller.call(trimStream, { name: "s", before: { case: "offset", value: 2n } });
  for (const value of [1n, 4n]) {
    const { status } = await caller.stream(subscribe, { stream: "s", start: { case: "offset", value } });
    t.like(status, { code: "OUT_OF_RANGE", reason: "OUT_OF_RANGE" });
    t.like(status.metadata, { first_offset: "2", next_offset: "3" });
  }
  t.like(await caller.fail(trimStream, { name: "s", before: { case: "offset", value: 4n } }), { code: "OUT_OF_RANGE" });
});

test("status - RESOURCE_EXHAUSTED says when to try again", async (t) => {
  const vault = await createVault(t, { subscriptionsMax: 1, callsMax: 3 });
  const caller = createCaller(t, vault);
  await caller.call(publish, { stream: "s", records });
  const follow = caller.raw.serverStream(methodPath(subscribe), encode(subscribe.input, { stream: "s" }));
  await new Promise((resolve) => void follow.once("data", resolve));
  const second = await caller.stream(subscribe, { stream: "s" });
  t.like(second.status, { code: "RESOURCE_EXHAUSTED", reason: "OVERLOADED" });
  t.true(second.status.retryAfterMs! > 0);

  const duplexes = [1, 2].map(() => caller.raw.duplex(methodPath(VaultService.method.publishStream)));
  const answered = duplexes.map((duplex) => new Promise((resolve) => void duplex.once("data", resolve)));
  for (const duplex of duplexes) duplex.write(encode(publish.input, { stream: "s", records }));
  await Promise.all(answered);
  const fourth = await caller.fail(getStream, { name: "s" });
  t.like(fourth, { code: "RESOURCE_EXHAUSTED", reason: "OVERLOADED" });
  t.true(fourth.retryAfterMs! > 0);
  for (const call of [follow, ...duplexes]) {
    call.on("error", () => undefined);
    call.cancel();
  }
  // What no server of gRPC would take is refused by the library itself, before the vault sees it.
  const large = createCaller(t, vault);
  t.like(await large.fail(publish, Buffer.alloc(9 * 1024 ** 2)), { code: "RESOURCE_EXHAUSTED", reason: undefined });
  t.truthy((await large.call(getStream, { name: "s" })).response, "the connection goes on");
});

test("status - RESOURCE_EXHAUSTED where too much waits to be stored", async (t) => {
  const azurite = await createAzurite(t);
  const proxy = await createProxy(t, azurite.endpoint.replace("http://", ""));
  const storage = `${azuriteConnectionString(`http://${proxy.endpoint}`)}Container=test`;
  const limits = { streamPendingBytesMax: 4 * 1024 ** 2, pendingBytesMax: 8 * 1024 ** 2, settleMs: 1000 };
  const caller = createCaller(t, await createVault(t, { storage, ...limits }));
  await caller.call(publish, { stream: "s", records });
  proxy.refuse();
  const request = { stream: "s", records: [{ value: Buffer.alloc(1_000_000) }] };
  const answers = await Promise.all(Array.from({ length: 12 }, () => caller.fail(publish, request)));
  const refused = answers.filter(({ code }) => code === "RESOURCE_EXHAUSTED");
  t.true(refused.length >= 6 && refused.length < 12, `${refused.length} of 12 are refused`);
  for (const status of refused) {
    t.is(status.reason, "OVERLOADED");
    t.true(status.retryAfterMs! > 0);
  }
});

test("status - UNAVAILABLE of a standby that a call was passed on to says NOT_STORED and names the leader", async (t) => {
  const azurite = await createAzurite(t);
  const leader = await createVault(t, { storage: azurite.setting });
  await createCaller(t, leader).call(publish, { stream: "s", records });
  const { raw } = createCaller(t, await createVault(t, { storage: azurite.setting }));
  const passedOn = new Metadata();
  passedOn.set(forwardedByKey, "another node");
  for (const [method, request] of [
    [publish, encode(publish.input, { stream: "s", records })],
    [createStream, encode(createStream.input, { name: "n" })],
  ] as const) {
    const error = await t.throwsAsync(raw.unary(methodPath(method), request, {}, passedOn));
    const status = readStatus(error as unknown as ServiceError);
    t.like(status, { code: "UNAVAILABLE", reason: "NOT_STORED", domain: "messagevault" });
    t.like(status.metadata, { leader: leader.endpoint });
    t.true(status.retryAfterMs! > 0);
  }
});

test("status - UNAVAILABLE while storage refuses says NOT_STORED, and nothing was stored", async (t) => {
  const azurite = await createAzurite(t);
  const proxy = await createProxy(t, azurite.endpoint.replace("http://", ""));
  const storage = `${azuriteConnectionString(`http://${proxy.endpoint}`)}Container=test`;
  const caller = createCaller(t, await createVault(t, { storage, settleMs: 1000 }));
  proxy.refuse();
  const status = await caller.fail(publish, { stream: "s", records });
  t.like(status, { code: "UNAVAILABLE", reason: "NOT_STORED" });
  t.true(status.retryAfterMs! > 0);
  proxy.restore();
  t.is((await caller.call(publish, { stream: "s", records })).response?.firstOffset, 0n);
});

test("status - UNAVAILABLE of a vault that shuts down says where to resume", async (t) => {
  const vault = await createVault(t);
  const caller = createCaller(t, vault);
  await caller.call(publish, { stream: "s", records });
  const call = caller.raw.serverStream(
    methodPath(subscribe),
    encode(subscribe.input, { stream: "s", start: { case: "earliest", value: {} } }),
  );
  await new Promise((resolve) => void call.once("data", resolve));
  const [{ status }] = await Promise.all([readAll(call), vault.close()]);
  const read = readStatus(status);
  t.like(read, { code: "UNAVAILABLE", reason: "NOT_STORED", domain: "messagevault" });
  t.like(read.metadata, { next_offset: "1" });
});

test("status - UNKNOWN where the answer of a write was lost and nobody can tell what became of it", async (t) => {
  t.timeout(30_000);
  const azurite = await createAzurite(t);
  const proxy = await createProxy(t, azurite.endpoint.replace("http://", ""));
  const storage = `${azuriteConnectionString(`http://${proxy.endpoint}`)}Container=test`;
  const caller = createCaller(t, await createVault(t, { storage, settleMs: 1000 }));
  const first = await caller.call(publish, { stream: "s", records });
  const producer = { id: "p", sequence: 1n };
  const store = await azurite.open();
  const segment = `streams/s/${first.response!.incarnation}/${"0".repeat(20)}.segment`;
  const stored = async () => (await store.read(segment, 0, 4096)).bytes;
  let bytes = await stored();
  const before = Buffer.from(bytes);
  proxy.muffle();
  const publishing = caller.fail(publish, { stream: "s", records, producer });
  for (let look = 0; look < 2000 && bytes.equals(before); look++) bytes = await stored();
  proxy.refuse();
  t.like(await publishing, { code: "UNKNOWN", reason: "OUTCOME_UNKNOWN", domain: "messagevault" });
  proxy.restore();
  const again = await caller.call(publish, { stream: "s", records, producer });
  t.like(again.response, { duplicate: true, firstOffset: 1n }, "it was stored, and is not stored twice");
});

test("status - DATA_LOSS names the segment and the position, and what follows can still be read", async (t) => {
  const directory = await createDirectory(t);
  const storage = `file:${directory}/data`;
  const first = await createVault(t, { storage });
  const caller = createCaller(t, first);
  for (let i = 0; i < 3; i++) await caller.call(publish, { stream: "s", records: [{ value: Buffer.alloc(9000, i) }] });
  await first.close();
  const file = await findSegment(directory);
  await flipByteAt(t, file, Buffer.alloc(100, 1));

  const second = createCaller(t, await createVault(t, { storage }));
  t.is((await second.call(publish, { stream: "s", records })).response?.firstOffset, 3n);
  const { responses, status } = await second.stream(subscribe, { stream: "s", start: { case: "earliest", value: {} } });
  t.deepEqual(
    responses.flatMap((response) => response.records.map(({ offset }) => offset)),
    [0n],
  );
  t.like(status, { code: "DATA_LOSS", reason: "DATA_DAMAGED" });
  t.regex(status.metadata?.["segment"] ?? "", /^streams\/s\/[0-9a-f]{32}\/0{20}\.segment$/);
  t.true(Number(status.metadata?.["position"]) >= 9000);
  t.like(status.metadata, { offset: "1" });
  const rest = { start: { case: "offset", value: 2n }, end: { case: "untilTail", value: {} } } as const;
  const behind = await second.stream(subscribe, { stream: "s", ...rest });
  t.is(behind.status.code, "OK");
  t.is(behind.responses.flatMap((response) => response.records).length, 2);
});

async function findSegment(directory: string): Promise<string> {
  const names = await readdir(directory, { recursive: true });
  return path.join(
    directory,
    names.find((name) => name.endsWith(".segment"))!,
  );
}

async function flipByteAt(t: ExecutionContext, file: string, piece: Buffer): Promise<void> {
  const bytes = await readFile(file);
  const at = bytes.indexOf(piece);
  t.true(at > 0);
  bytes[at + 50]! ^= 1;
  await writeFile(file, bytes);
}
