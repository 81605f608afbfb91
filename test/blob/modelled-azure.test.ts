import test from "ava";
import { pageBytes, writeBytesMax } from "../../src/blob/blob-store.ts";
import { contract } from "../../src/blob/contract.ts";
import { filledBytes, heldFence } from "../../src/blob/contract-check.ts";
import { createMemoryStore } from "../../src/blob/memory.ts";
import { azureModelDefaults, createModelledAzure } from "../../src/blob/modelled-azure.ts";
import type { AzureModel } from "../../src/blob/modelled-azure.ts";
import { createPacedStore } from "../../src/blob/paced-store.ts";
import { azurePace } from "../../src/blob/pacer.ts";
import { isKind } from "../../src/errors.ts";
import { createClock } from "../support/create-clock.ts";
import { drive } from "../support/drive.ts";

const MiB = 1024 * 1024;
const name = "streams/a/1/0.segment";
const fence = heldFence(1);

/** No latency to speak of, so that the limits alone count. */
const instant = { latencyMsMedian: 0.001, latencyMsP99: 0.001, transferBytesPerSecond: 1e15 };

async function createModel(settings: Partial<AzureModel> = {}) {
  const clock = createClock();
  const store = createModelledAzure(createMemoryStore(clock), clock, settings);
  const etag = await drive(clock, store.createPages(name, 64 * MiB, fence));
  return { clock, store, etag };
}

for (const check of contract) {
  test(`modelled Azure, paced, ${check.title}`, async (t) => {
    const clock = createClock();
    const model = createModelledAzure(createMemoryStore(clock), clock);
    const store = createPacedStore(model, clock, { ...azurePace, readAttemptsMax: 3 });
    await drive(clock, check.run(store, "scratch/", clock));
    t.pass();
  });
}

test("modelled Azure - half of the requests take at most the median, 99 of 100 the 99th percentile", async (t) => {
  const { clock, store } = await createModel({ blobRequestsPerSecond: 1e9, accountRequestsPerSecond: 1e9 });
  const from = clock.monotonic();
  const times: number[] = [];
  const count = 2000;
  for (let i = 0; i < count; i++) {
    void store.properties(name).then(() => times.push(clock.monotonic() - from));
  }
  await clock.advanceUntil(() => times.length === count, 60_000);
  const share = (ms: number) => times.filter((time) => time <= ms).length / count;
  t.true(Math.abs(share(10) - 0.5) < 0.03, `${share(10)} of the requests within 10 ms`);
  t.true(Math.abs(share(40) - 0.99) < 0.006, `${share(40)} of the requests within 40 ms`);
});

test("modelled Azure - content takes its time on the way, in both directions", async (t) => {
  const { clock, store, etag } = await createModel({ latencyMsMedian: 1e-6, latencyMsP99: 1e-6 });
  const bytes = filledBytes(writeBytesMax, 1);
  const from = clock.monotonic();
  await drive(clock, store.writePages(name, 0, bytes, etag, fence));
  t.true(Math.abs(clock.monotonic() - from - 20) < 0.1, "4 MiB at 200 MiB/s");
  await drive(clock, store.read(name, 0, writeBytesMax));
  t.true(Math.abs(clock.monotonic() - from - 40) < 0.1);
});

test("modelled Azure - a write is applied half way, with its conditions judged then", async (t) => {
  const { clock, store, etag } = await createModel({ latencyMsMedian: 10, latencyMsP99: 10.001 });
  const first = store.writePages(name, 0, filledBytes(pageBytes, 1), etag, fence);
  const second = store.writePages(name, 0, filledBytes(pageBytes, 2), etag, fence);
  const outcomes = await drive(clock, Promise.allSettled([first, second]));
  t.deepEqual(outcomes.map(({ status }) => status).toSorted(), ["fulfilled", "rejected"]);
});

/** Sends requests one after the other for `seconds`; resolves to how many were carried out and how many refused. */
async function load(settings: Partial<AzureModel>, seconds: number, lengthBytes: number) {
  const { clock, store } = await createModel({ ...instant, ...settings });
  const until = clock.monotonic() + seconds * 1000;
  const outcome = { served: 0, refused: 0, retryAfterMs: 0 };
  const before = { ...store.counts };
  async function run() {
    while (clock.monotonic() < until) {
      try {
        await store.read(name, 0, lengthBytes);
        outcome.served++;
      } catch (error) {
        if (!isKind(error, "overloaded")) throw error;
        outcome.refused++;
        outcome.retryAfterMs = error.detail.retryAfterMs ?? 0;
        await clock.turn();
        await new Promise<void>((resolve) => clock.timer(5, resolve));
      }
    }
  }
  await drive(clock, run());
  expectCounted(store.counts, before, outcome);
  return outcome;
}

function expectCounted(
  after: { requests: number; throttled: number },
  before: { requests: number; throttled: number },
  outcome: { served: number; refused: number },
): void {
  if (after.throttled - before.throttled !== outcome.refused) throw new Error("the count of refusals is wrong");
  if (after.requests - before.requests !== outcome.served + outcome.refused) throw new Error("requests miscounted");
}

test("modelled Azure - a blob serves its bytes a second and refuses the rest with a time to wait", async (t) => {
  const { served, refused, retryAfterMs } = await load({ retryAfterMs: 3000 }, 4, MiB);
  // A second's worth at first, then 60 a second.
  t.true(Math.abs(served - 5 * 60) <= 3, `${served} MiB`);
  t.true(refused > 100);
  t.is(retryAfterMs, 3000);
});

test("modelled Azure - a blob and the account serve their requests a second", async (t) => {
  const blob = await load({ blobRequestsPerSecond: 50 }, 4, 512);
  t.true(Math.abs(blob.served - 5 * 50) <= 3, `${blob.served}`);
  const account = await load({ accountRequestsPerSecond: 50 }, 4, 512);
  t.true(Math.abs(account.served - 5 * 50) <= 3, `${account.served}`);
  const egress = await load({ accountEgressBytesPerSecond: 10 * MiB, burstSeconds: 0.5 }, 4, MiB);
  t.true(Math.abs(egress.served - 45) <= 3, `${egress.served}`);
});

test("modelled Azure - what it assumes are the published limits", (t) => {
  const { blobBytesPerSecond, blobRequestsPerSecond, accountRequestsPerSecond } = azureModelDefaults;
  t.deepEqual(
    [blobBytesPerSecond, blobRequestsPerSecond, accountRequestsPerSecond],
    [azurePace.blobBytesPerSecondMax, azurePace.blobRequestsPerSecondMax, azurePace.accountRequestsPerSecondMax],
  );
});
