/** SIGTERM: everything that is under way gets a definite answer, the lease is given back, and the process ends with 0. */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import test from "ava";
import type { ExecutionContext } from "ava";
import { HealthCheckRequestSchema, HealthCheckResponse_ServingStatus } from "../../gen/grpc/health/v1/health_pb.ts";
import { HealthCheckResponseSchema } from "../../gen/grpc/health/v1/health_pb.ts";
import { PublishResponseSchema, SubscribeResponseSchema, VaultService } from "../../gen/messagevault/v1/vault_pb.ts";
import { azuriteConnectionString } from "../../src/blob/azurite.ts";
import { systemClock } from "../../src/clock.ts";
import { controlName } from "../../src/leader/control.ts";
import { methodPath } from "../../src/rpc/handlers.ts";
import type { CallStatus, VaultCaller } from "../support/call-vault.ts";
import { createCaller, encode, readStatus } from "../support/call-vault.ts";
import { createAzurite } from "../support/create-azurite.ts";
import { createClient } from "../support/create-client.ts";
import { createDirectory } from "../support/create-directory.ts";
import { createProxy } from "../support/create-proxy.ts";
import { readAll } from "../support/create-rpc-server.ts";
import { findGap, readStream } from "../support/read-stream.ts";
import type { VaultProcess } from "../support/start-vault-process.ts";
import { startVaultProcess } from "../support/start-vault-process.ts";
import { verifyStorage } from "../support/verify-storage.ts";
import { waitUntil } from "../support/wait-until.ts";

const { publish, publishStream, subscribe } = VaultService.method;

/** A request of one record, whose value is its number. */
function request(stream: string, number: number): Uint8Array {
  return encode(publish.input, { stream, records: [{ value: Buffer.from(`${number}`) }] });
}

/** What became of requests, by their number. */
interface Outcomes {
  readonly stored: number[];
  readonly refused: { readonly number: number; readonly status: CallStatus }[];
}

/** Keeps unary publishes under way until one fails; resolves when each has its answer. */
async function publishUnary(caller: VaultCaller, stream: string, outcomes: Outcomes): Promise<void> {
  let next = 0;
  async function work(): Promise<void> {
    while (outcomes.refused.length === 0) {
      const number = next++;
      const { status } = await caller.call(publish, request(stream, number));
      if (status === undefined) outcomes.stored.push(number);
      else outcomes.refused.push({ number, status });
    }
  }
  await Promise.all(Array.from({ length: 32 }, work));
}

/** Keeps requests under way on one PublishStream call until that ends; resolves to its status. */
async function publishDuplex(caller: VaultCaller, stream: string, outcomes: Outcomes): Promise<CallStatus> {
  const call = caller.raw.duplex(methodPath(publishStream));
  let [sent, answered] = [0, 0];
  const send = () => call.write(request(stream, sent++));
  call.on("data", (bytes: Buffer) => {
    fromBinary(PublishResponseSchema, bytes);
    outcomes.stored.push(answered++);
    send();
  });
  call.on("error", () => undefined);
  for (let i = 0; i < 32; i++) send();
  const status = await new Promise<Parameters<typeof readStatus>[0]>((resolve) => void call.once("status", resolve));
  for (let number = answered; number < sent; number++) outcomes.refused.push({ number, status: readStatus(status) });
  return readStatus(status);
}

async function stopQuickly(t: ExecutionContext, vault: VaultProcess, withinMs: number): Promise<void> {
  const startedAt = systemClock.monotonic();
  t.is(await vault.kill("SIGTERM"), 0, vault.log());
  const tookMs = systemClock.monotonic() - startedAt;
  t.true(tookMs < withinMs, `it took ${Math.round(tookMs)} ms to stop`);
  t.notRegex(vault.log(), /call failed/);
}

test("shutdown - SIGTERM answers pending publishes, and what it refuses is not stored", async (t) => {
  t.timeout(60_000);
  const storage = `file:${await createDirectory(t)}/data`;
  const vault = await startVaultProcess(t, ["--storage", storage]);
  const unary: Outcomes = { stored: [], refused: [] };
  const duplex: Outcomes = { stored: [], refused: [] };
  const unaryEnded = publishUnary(createCaller(t, vault), "unary", unary);
  const duplexEnded = publishDuplex(createCaller(t, vault), "duplex", duplex);
  await waitUntil(() => unary.stored.length > 200 && duplex.stored.length > 200, "publishing goes on");
  await stopQuickly(t, vault, 5000);
  await unaryEnded;
  t.like(await duplexEnded, { code: "UNAVAILABLE", reason: "NOT_STORED", domain: "messagevault" });
  // Those that came when the connection was closed already never reached the vault.
  for (const { status } of unary.refused) t.is(status.code, "UNAVAILABLE", status.message);

  const again = await startVaultProcess(t, ["--storage", storage]);
  const client = createClient(t, again);
  for (const [stream, outcomes] of Object.entries({ unary, duplex })) {
    const records = await readStream(client, stream);
    t.is(findGap(records), undefined);
    const found = records.map(({ value }) => Number(Buffer.from(value).toString()));
    t.deepEqual(found.toSorted(ascending), outcomes.stored.toSorted(ascending), `${stream}: all answered, none else`);
    t.log(`${stream}: ${outcomes.stored.length} stored, ${outcomes.refused.length} refused`);
  }
  await stopQuickly(t, again, 5000);
  t.deepEqual((await verifyStorage(storage)).findings, []);
});

function ascending(one: number, other: number): number {
  return one - other;
}

test("shutdown - SIGTERM ends subscriptions with UNAVAILABLE and tells each where to resume", async (t) => {
  const vault = await startVaultProcess(t, ["--storage", "memory:"]);
  const caller = createCaller(t, vault);
  for (let number = 0; number < 5; number++) await caller.call(publish, request("s", number));
  const starts = [0n, 3n, 5n];
  const calls = starts.map((value) => {
    const asked = { stream: "s", start: { case: "offset", value } } as const;
    return caller.raw.serverStream(methodPath(subscribe), encode(subscribe.input, asked));
  });
  const seen = calls.map(() => 0n);
  const ends = calls.map(readAll);
  for (const [at, call] of calls.entries()) {
    call.on("data", (bytes: Buffer) => (seen[at] = fromBinary(SubscribeResponseSchema, bytes).nextOffset));
  }
  await waitUntil(() => seen.every((offset) => offset === 5n), "all are at the tail");
  await stopQuickly(t, vault, 3000);
  for (const { status } of await Promise.all(ends)) {
    const read = readStatus(status);
    t.like(read, { code: "UNAVAILABLE", reason: "NOT_STORED", domain: "messagevault" });
    t.like(read.metadata, { next_offset: "5" });
  }
});

test("shutdown - the lease is given back, and another node leads at once", async (t) => {
  t.timeout(60_000);
  const azurite = await createAzurite(t);
  const first = await startVaultProcess(t, ["--storage", azurite.setting]);
  const second = await startVaultProcess(t, ["--storage", azurite.setting, "--election-poll-ms", "200ms"]);
  const client = createClient(t, first, { addresses: [first.endpoint, second.endpoint] });
  await client.publish("s", [{ value: "before" }]);
  const store = await azurite.open();
  t.true((await store.properties(controlName))?.leased);
  await stopQuickly(t, first, 5000);
  const startedAt = systemClock.monotonic();
  const receipt = await client.publish("s", [{ value: "after" }], { producer: { id: "p", sequence: 0n } });
  t.is(receipt.firstOffset, 1n);
  t.true(systemClock.monotonic() - startedAt < 14_000, "the lease's length is not waited for");
  await stopQuickly(t, second, 5000);
  t.false((await store.properties(controlName))?.leased);
});

test("shutdown - SIGTERM while health is watched and nothing else happens", async (t) => {
  const vault = await startVaultProcess(t, ["--storage", "memory:"]);
  const caller = createCaller(t, vault);
  const service = toBinary(HealthCheckRequestSchema, create(HealthCheckRequestSchema, { service: "" }));
  const watches = [1, 2, 3].map(() => caller.raw.serverStream("/grpc.health.v1.Health/Watch", service));
  const statuses = watches.map((): HealthCheckResponse_ServingStatus[] => []);
  for (const [at, watch] of watches.entries()) {
    watch.on("data", (bytes: Buffer) => statuses[at]!.push(fromBinary(HealthCheckResponseSchema, bytes).status));
  }
  const ends = watches.map(readAll);
  await waitUntil(() => statuses.every((seen) => seen.length > 0), "all watches know the health");
  await stopQuickly(t, vault, 3000);
  for (const { status } of await Promise.all(ends)) t.is(readStatus(status).code, "UNAVAILABLE");
  for (const seen of statuses) {
    t.is(seen[0], HealthCheckResponse_ServingStatus.SERVING);
    t.is(seen.at(-1), HealthCheckResponse_ServingStatus.NOT_SERVING);
  }
});

/** A vault that has lost its storage, with a publish that waits for it. */
async function startStuckVault(t: ExecutionContext, grace: string, loss: "muffle" | "refuse") {
  const azurite = await createAzurite(t);
  const proxy = await createProxy(t, azurite.endpoint.replace("http://", ""));
  const storage = `${azuriteConnectionString(`http://${proxy.endpoint}`)}Container=test`;
  const vault = await startVaultProcess(t, ["--storage", storage, "--shutdown-grace-ms", grace]);
  const caller = createCaller(t, vault);
  await caller.call(publish, request("s", 0));
  proxy[loss]();
  return { vault, caller, pending: caller.call(publish, request("s", 1)) };
}

test("shutdown - a second signal ends the vault at once, whatever is pending", async (t) => {
  t.timeout(30_000);
  const { vault, caller, pending } = await startStuckVault(t, "60s", "muffle");
  vault.child.kill("SIGTERM");
  // The first signal has arrived when new calls are refused.
  await waitUntil(() => vault.child.exitCode === null, "it waits for what is pending");
  await refusal(caller);
  const startedAt = systemClock.monotonic();
  t.is(await vault.kill("SIGTERM"), 130);
  t.true(systemClock.monotonic() - startedAt < 30_000, "60 s of grace are not waited for");
  t.is((await pending).status?.code, "UNAVAILABLE");
});

for (const [loss, words] of [
  ["muffle", "answers nothing"],
  ["refuse", "cannot be reached"],
] as const) {
  test(`shutdown - a vault whose storage ${words} stops soon after its grace period`, async (t) => {
    t.timeout(30_000);
    const { vault, pending } = await startStuckVault(t, "1s", loss);
    const startedAt = systemClock.monotonic();
    const code = await vault.kill("SIGTERM");
    const tookMs = systemClock.monotonic() - startedAt;
    t.true(tookMs < 9000, `it took ${Math.round(tookMs)} ms to stop`);
    t.is(code, 0, vault.log());
    t.truthy((await pending).status);
  });
}

async function refusal(caller: VaultCaller): Promise<void> {
  for (;;) {
    const { status } = await caller.call(publish, new Uint8Array(), { deadline: Date.now() + 2000 });
    if (status?.code !== "INVALID_ARGUMENT") return;
  }
}
