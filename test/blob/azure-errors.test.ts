import test from "ava";
import type { ExecutionContext } from "ava";
import { inspect } from "node:util";
import { openAzureStore } from "../../src/blob/azure.ts";
import { withoutSecrets } from "../../src/blob/azure-errors.ts";
import { azuriteConnectionString } from "../../src/blob/azurite.ts";
import { pageBytes } from "../../src/blob/blob-store.ts";
import type { BlobStore } from "../../src/blob/blob-store.ts";
import { filledBytes, heldFence, outcomeOf } from "../../src/blob/contract-check.ts";
import { systemClock } from "../../src/clock.ts";
import { VaultError } from "../../src/errors.ts";
import { createAzurite } from "../support/create-azurite.ts";
import { createClock } from "../support/create-clock.ts";
import { waitUntil } from "../support/wait-until.ts";
import { createStorageProxy } from "../support/create-storage-proxy.ts";
import type { StorageFault } from "../support/create-storage-proxy.ts";

const fence = heldFence(1);
const name = "streams/a/1/0.segment";
const leaseId = "0123456789abcdef0123456789abcdef";
const bytes = filledBytes(pageBytes, 1);

async function createFaultyStore(t: ExecutionContext) {
  const azurite = await createAzurite(t);
  const proxy = await createStorageProxy(t, azurite.endpoint);
  const store = await azurite.open({ readRetryDelayMs: 1 }, proxy.endpoint);
  const etag = await store.createPages(name, 4 * pageBytes, fence);
  return { proxy, store, etag, direct: await azurite.open() };
}

/** What each fault is for a change, and for a read that meets it every time. */
const mapping: readonly [string, StorageFault, string, string][] = [
  ["503 ServerBusy", { answer: 503, code: "ServerBusy", headers: { "retry-after": "0" } }, "overloaded", "overloaded"],
  ["500 InternalError", { answer: 500, code: "InternalError" }, "indeterminate", "unavailable"],
  ["500 OperationTimedOut", { answer: 500, code: "OperationTimedOut" }, "indeterminate", "unavailable"],
  ["502", { answer: 502, code: "BadGateway" }, "indeterminate", "unavailable"],
  ["504", { answer: 504, code: "GatewayTimeout" }, "indeterminate", "unavailable"],
  ["a reset", "reset", "indeterminate", "unavailable"],
  ["401", { answer: 401, code: "NoAuthenticationInformation" }, "unauthenticated", "unauthenticated"],
  ["403 AuthenticationFailed", { answer: 403, code: "AuthenticationFailed" }, "unauthenticated", "unauthenticated"],
  ["403 AuthorizationFailure", { answer: 403, code: "AuthorizationFailure" }, "denied", "denied"],
  ["404 ContainerNotFound", { answer: 404, code: "ContainerNotFound" }, "notFound", "notFound"],
  ["400", { answer: 400, code: "InvalidHeaderValue" }, "invalid", "invalid"],
  ["409 ContainerBeingDeleted", { answer: 409, code: "ContainerBeingDeleted" }, "unavailable", "unavailable"],
];

for (const [title, fault, change, read] of mapping) {
  test(`Azure errors - ${title}: ${change} for a change, ${read} for a read`, async (t) => {
    const { proxy, store, etag } = await createFaultyStore(t);
    // The first write asks for nothing else, as the size is known from the create.
    proxy.inject(fault);
    t.is(await outcomeOf(store.writePages(name, 0, bytes, etag, fence)), change);
    proxy.inject(fault);
    t.is(await outcomeOf(store.raiseFence(name, etag, fence)), change);
    proxy.inject(fault);
    t.is(await outcomeOf(store.put("x.json", bytes, "always")), change);
    proxy.inject(fault);
    t.is(await outcomeOf(store.acquireLease(name, leaseId, 15)), change);
    proxy.inject(fault, 3);
    t.is(await outcomeOf(store.read(name, 0, pageBytes)), read);
    proxy.inject(fault, 3);
    t.is(await outcomeOf(store.list("", 10)), read);
  });
}

test("Azure errors - silence ends with the time-out: indeterminate for a change, unavailable for a read", async (t) => {
  const azurite = await createAzurite(t);
  const proxy = await createStorageProxy(t, azurite.endpoint);
  const clock = createClock();
  const store = await azurite.open({ requestTimeoutMs: 20_000, leaseTimeoutMs: 4_000 }, proxy.endpoint, clock);
  const etag = await store.createPages(name, 4 * pageBytes, fence);
  const silent = async (timeoutMs: number, start: () => Promise<unknown>) => {
    proxy.inject("hang");
    const before = proxy.requestCount();
    const outcome = outcomeOf(start());
    await waitUntil(() => proxy.requestCount() > before, "the request has come");
    let settled = false;
    void outcome.then(() => (settled = true));
    await clock.advance(timeoutMs - 1);
    t.false(settled);
    await clock.advance(1);
    return outcome;
  };
  t.is(await silent(20_000, () => store.writePages(name, 0, bytes, etag, fence)), "indeterminate");
  t.is(await silent(20_000, () => store.put("x.json", bytes, "always")), "indeterminate");
  t.is(await silent(4_000, () => store.acquireLease(name, leaseId, 15)), "indeterminate");
  t.is(await silent(4_000, () => store.setMetadata(name, {}, etag)), "indeterminate");
  // A read that timed out is not repeated: whoever asked has waited long enough.
  t.is(await silent(20_000, () => store.read(name, 0, pageBytes)), "unavailable");
  t.is(await silent(4_000, () => store.properties(name)), "unavailable");
  t.is(clock.timers, 0);
});

const conflicts: readonly [string, number, string][] = [
  ["ConditionNotMet", 412, "conflict (etag)"],
  ["SequenceNumberConditionNotMet", 412, "conflict (sequenceNumber)"],
  ["LeaseIdMissing", 412, "conflict (lease)"],
  ["LeaseLost", 412, "conflict (lease)"],
  ["LeaseNotPresentWithBlobOperation", 412, "conflict (lease)"],
  ["LeaseIdMismatchWithBlobOperation", 412, "conflict (lease)"],
  ["LeaseAlreadyPresent", 409, "conflict (lease)"],
  ["LeaseIsBrokenAndCannotBeRenewed", 409, "conflict (lease)"],
  ["BlobAlreadyExists", 409, "alreadyExists"],
  ["InvalidBlobType", 409, "invalid"],
];

test("Azure errors - conditions by their code", async (t) => {
  const { proxy, store, etag } = await createFaultyStore(t);
  for (const [code, answer, outcome] of conflicts) {
    proxy.inject({ answer, code });
    t.is(await outcomeOf(store.writePages(name, 0, bytes, etag, fence)), outcome, code);
  }
});

test("Azure errors - a create over a leased blob says that the blob exists", async (t) => {
  const { proxy, store } = await createFaultyStore(t);
  proxy.inject({ answer: 412, code: "LeaseIdMissing" });
  t.is(await outcomeOf(store.createPages("other", pageBytes, fence)), "alreadyExists");
  proxy.inject({ answer: 412, code: "LeaseIdMissing" });
  t.is(await outcomeOf(store.put("other", bytes, { ifNoneMatch: "*" })), "alreadyExists");
});

test("Azure changes - one whose answer is lost is indeterminate, carried out, and not sent again", async (t) => {
  const { proxy, store, etag, direct } = await createFaultyStore(t);
  const before = proxy.requestCount();
  proxy.inject("lost");
  t.is(await outcomeOf(store.writePages(name, 0, bytes, etag, fence)), "indeterminate");
  t.is(proxy.requestCount(), before + 1);
  t.deepEqual((await direct.read(name, 0, pageBytes)).bytes, bytes);
  t.is(await outcomeOf(store.writePages(name, 0, bytes, etag, fence)), "conflict (etag)");
});

test("Azure changes - storage that is throttling tells when to come back", async (t) => {
  const { proxy, store, etag } = await createFaultyStore(t);
  proxy.inject({ answer: 503, code: "ServerBusy", headers: { "retry-after": "7" } });
  const write = store.writePages(name, 0, bytes, etag, fence);
  const error = await t.throwsAsync(write, { instanceOf: VaultError });
  t.is(error.detail.retryAfterMs, 7000);
});

test("Azure reads - are sent again after a reset, a 500 and half a body", async (t) => {
  const { proxy, store, etag } = await createFaultyStore(t);
  await store.writePages(name, 0, bytes, etag, fence);
  for (const fault of ["reset", "cut", { answer: 500 }, { answer: 503, headers: { "retry-after": "0" } }] as const) {
    proxy.inject(fault, 2);
    t.deepEqual((await store.read(name, 0, pageBytes)).bytes, bytes);
    proxy.inject(fault === "cut" ? "reset" : fault, 2);
    t.is((await store.properties(name))?.sizeBytes, 4 * pageBytes);
  }
  proxy.inject("cut", 3);
  t.is(await outcomeOf(store.read(name, 0, pageBytes)), "unavailable");
});

test("Azure reads - begin anew after half a body, not under the first answer's version", async (t) => {
  const { proxy, store } = await createFaultyStore(t);
  proxy.inject("cut");
  const versions: (string | undefined)[] = [];
  proxy.inject("reset", 1, (request) => {
    versions.push(request.headers["if-match"]);
    return false;
  });
  await store.read(name, 0, pageBytes);
  t.deepEqual(versions, [undefined]);
});

test("Azure open - a host that refuses or is not known is unavailable", async (t) => {
  for (const endpoint of ["http://127.0.0.1:1", "http://no-such-host.invalid"]) {
    const target = { connectionString: azuriteConnectionString(endpoint), container: "test" };
    const error = await t.throwsAsync(openAzureStore(target, systemClock, { readRetryDelayMs: 1 }), {
      instanceOf: VaultError,
    });
    t.is(error.kind, "unavailable");
    t.regex(error.message, /reached/);
  }
});

test("Azure changes - a connection that is refused is unavailable: nothing was sent", async (t) => {
  const azurite = await createAzurite(t);
  const proxy = await createStorageProxy(t, azurite.endpoint);
  const store = await azurite.open({}, proxy.endpoint);
  const etag = await store.createPages(name, pageBytes, fence);
  await proxy.close();
  // The first may still go out on the connection that was closed, which nobody can tell from a lost answer.
  await outcomeOf(store.writePages(name, 0, bytes, etag, fence));
  t.is(await outcomeOf(store.writePages(name, 0, bytes, etag, fence)), "unavailable");
});

test("Azure open - an account with hierarchical namespace is refused with the reason", async (t) => {
  const azurite = await createAzurite(t);
  const proxy = await createStorageProxy(t, azurite.endpoint);
  proxy.inject({ headers: { "x-ms-is-hns-enabled": "true" } });
  const error = await t.throwsAsync(azurite.open({}, proxy.endpoint), { instanceOf: VaultError });
  t.is(error.kind, "invalid");
  t.regex(error.message, /hierarchical namespace/);
});

test("Azure open - goes on where the account may not be asked and the container may not be made", async (t) => {
  const azurite = await createAzurite(t);
  await azurite.open();
  const proxy = await createStorageProxy(t, azurite.endpoint);
  proxy.inject({ answer: 403, code: "AuthorizationFailure" }, 2);
  const store: BlobStore = await azurite.open({ createContainer: true }, proxy.endpoint);
  await store.put("x", bytes, "always");
  proxy.inject({ answer: 403, code: "AuthorizationFailure" }, 3);
  const error = await t.throwsAsync(azurite.open({ createContainer: true }, proxy.endpoint), {
    instanceOf: VaultError,
  });
  t.is(error.kind, "denied");
});

test("Azure errors - hold no key, no signature, no URL", async (t) => {
  const secret = "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0";
  t.is(withoutSecrets(`https://a/b?sv=1&sig=${encodeURIComponent(secret)}&se=2`), "https://a/b?sv=1&sig=...&se=2");
  t.is(withoutSecrets(`AccountName=a;AccountKey=${secret}==;x=1`), "AccountName=a;AccountKey=...;x=1");
  t.is(withoutSecrets(`The MAC signature '${secret}=' is not the same`), "The MAC signature '...' is not the same");
  const azurite = await createAzurite(t);
  const proxy = await createStorageProxy(t, azurite.endpoint);
  const sas = `sv=2024-11-04&sr=c&sp=racwdl&sig=${secret}`;
  const text = `Server failed.\nThe MAC signature found '${secret}' with sig=${secret}`;
  proxy.inject({ answer: 403, code: "AuthenticationFailed", text }, 10);
  const opening = openAzureStore({ url: `${proxy.endpoint}/devstoreaccount1/test?${sas}` }, systemClock);
  const error = await t.throwsAsync(opening, { instanceOf: VaultError });
  t.is(error.kind, "unauthenticated");
  for (const shown of [String(error), inspect(error, { depth: 20 }), JSON.stringify(error)])
    t.false(shown.includes(secret), shown);
  const store = await azurite.open();
  t.false(store.description.includes("Eby8"));
  t.true(store.description.startsWith("azure:http://127.0.0.1"));
});
