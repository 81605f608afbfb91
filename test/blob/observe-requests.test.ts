import test from "ava";
import { pageBytes } from "../../src/blob/blob-store.ts";
import { heldFence } from "../../src/blob/contract-check.ts";
import { createMemoryStore } from "../../src/blob/memory.ts";
import { createRepeats, observeStore } from "../../src/blob/observe-requests.ts";
import { createPacedStore } from "../../src/blob/paced-store.ts";
import { noPace } from "../../src/blob/pacer.ts";
import { systemClock } from "../../src/clock.ts";
import { VaultError } from "../../src/errors.ts";
import { createAzurite } from "../support/create-azurite.ts";
import { createClock } from "../support/create-clock.ts";
import { createFaultyStore } from "../support/create-faulty-store.ts";
import { createStorageProxy } from "../support/create-storage-proxy.ts";
import { createTestTelemetry, sumOf } from "../support/create-telemetry.ts";
import type { TestTelemetry } from "../support/create-telemetry.ts";
import { drive } from "../support/drive.ts";

const name = "streams/a/1/0.segment";
const fence = heldFence(1);
const throttled = () => Promise.reject(new VaultError("overloaded", "too many", { retryAfterMs: 1 }));

/** What was told of an operation: requests, those of them that were refused, further attempts. */
async function countsOf(told: TestTelemetry, operation: string) {
  const metrics = await told.collect();
  const values = { "messagevault.storage.operation": operation };
  return {
    requests: sumOf(metrics.get("messagevault.storage.request.duration"), values),
    throttles: sumOf(metrics.get("messagevault.storage.throttles"), values),
    retries: sumOf(metrics.get("messagevault.storage.retries"), values),
  };
}

/** The attempts that the spans of an operation have. */
function attemptsOf({ spans }: TestTelemetry, operation: string) {
  return spans
    .filter((span) => span.name === `storage ${operation}`)
    .map(({ attributes }) => attributes["messagevault.storage.attempt"]);
}

test("storage requests - a read that storage throttles - is told of as attempts of one read", async (t) => {
  const clock = createClock();
  const told = createTestTelemetry();
  const faulty = createFaultyStore(createMemoryStore(clock));
  const repeats = createRepeats();
  const observed = observeStore(faulty.store, clock, told.telemetry, repeats);
  const store = createPacedStore(observed, clock, { ...noPace, readAttemptsMax: 3 }, repeats);
  await drive(clock, store.createPages(name, pageBytes, fence));
  faulty.set("properties", throttled);
  const lead = told.telemetry.startSpan("lead", { parent: null });
  const read = told.telemetry.within(lead, () => store.properties(name));
  await t.throwsAsync(drive(clock, read));
  t.deepEqual(await countsOf(told, "properties"), { requests: 3, throttles: 3, retries: 2 });
  t.deepEqual(attemptsOf(told, "properties"), [1, 2, 3]);
  // What comes after it is a read of its own.
  faulty.set("properties", undefined);
  await drive(clock, store.properties(name));
  t.deepEqual(await countsOf(told, "properties"), { requests: 4, throttles: 3, retries: 2 });
});

test("storage requests - Azure throttles a read and then fails it - every attempt more is a retry", async (t) => {
  const azurite = await createAzurite(t);
  const proxy = await createStorageProxy(t, azurite.endpoint);
  const told = createTestTelemetry();
  const direct = await azurite.open();
  await direct.createPages(name, pageBytes, fence);
  const store = await azurite.open({ readRetryDelayMs: 1 }, proxy.endpoint, systemClock, told.telemetry);
  const before = await countsOf(told, "read");
  proxy.inject({ answer: 503, code: "ServerBusy", headers: { "retry-after": "0" } });
  proxy.inject({ answer: 500, code: "InternalError" });
  await store.read(name, 0, pageBytes);
  t.deepEqual(before, { requests: 0, throttles: 0, retries: 0 });
  t.deepEqual(await countsOf(told, "read"), { requests: 3, throttles: 1, retries: 2 });
});
