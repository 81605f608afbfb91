import test from "ava";

import { azureStoreDefaults } from "../../src/blob/azure.ts";
import { pageBytes } from "../../src/blob/blob-store.ts";
import { filledBytes, heldFence } from "../../src/blob/contract-check.ts";
import { createAzurite } from "../support/create-azurite.ts";
import { createStorageProxy } from "../support/create-storage-proxy.ts";
import { waitUntil } from "../support/wait-until.ts";

const leaseId = "0123456789abcdef0123456789abcdef";

test("Azure connections - a lease is renewed while every connection for other requests hangs", async (t) => {
  const azurite = await createAzurite(t);
  const proxy = await createStorageProxy(t, azurite.endpoint);
  const { socketsMax } = azureStoreDefaults;
  const store = await azurite.open(
    { requestTimeoutMs: 3000, leaseTimeoutMs: 3000, readAttemptsMax: 1 },
    proxy.endpoint,
  );
  const etag = await store.createPages("streams/a/1/0.segment", pageBytes, heldFence(1));
  await store.createControl("cluster/leader", {});
  await store.acquireLease("cluster/leader", leaseId, 15);
  const before = proxy.requestCount();

  proxy.inject("hang", 10_000, ({ url = "" }) => url.includes("/streams/"));
  const bytes = filledBytes(pageBytes, 1);
  const hanging = Array.from({ length: 2 * socketsMax }, () => [
    store.writePages("streams/a/1/0.segment", 0, bytes, etag, heldFence(1)),
    store.properties("streams/a/1/0.segment"),
  ]).flat();
  const ended = Promise.allSettled(hanging);
  let over = false;
  void Promise.race(hanging).catch(() => (over = true));
  await waitUntil(() => proxy.requestCount() - before > socketsMax, "every connection hangs");

  await store.renewLease("cluster/leader", leaseId);
  t.false(over, "it waited for what hangs");
  t.is((await ended).filter(({ status }) => status === "fulfilled").length, 0);
});
