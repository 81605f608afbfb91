import test from "ava";
import type { ExecutionContext } from "ava";
import { createModelledAzure } from "../../src/blob/modelled-azure.ts";
import type { AzureModel } from "../../src/blob/modelled-azure.ts";
import { createPacedStore } from "../../src/blob/paced-store.ts";
import { azurePace } from "../../src/blob/pacer.ts";
import type { PaceLimits } from "../../src/blob/pacer.ts";
import type { VaultApi } from "../../src/stream/commands.ts";
import { createEngine } from "../support/create-engine.ts";
import { drive } from "../support/drive.ts";
import { publish } from "../support/publish-records.ts";
import { readValues } from "../support/read-records.ts";

const KiB = 1024;
const MiB = 1024 * KiB;

/** A tenth of Azure's bytes, with commits of a tenth, so that a test moves less. */
const small = { blobBytesPerSecond: 6 * MiB, transferBytesPerSecond: 20 * MiB };
const smallPace = { ...azurePace, blobBytesPerSecondMax: 6 * MiB };
const smallCommits = { commitBytesMax: 400 * KiB, streamPendingBytesMax: 64 * MiB };

function openPaced(t: ExecutionContext, model: Partial<AzureModel>, pace: PaceLimits) {
  const { open, clock, memory } = createEngine(t, { settings: smallCommits });
  const azure = createModelledAzure(memory, clock, model);
  const { vault } = open({ store: createPacedStore(azure, clock, { ...pace, readAttemptsMax: 3 }) });
  return { vault, azure, clock, memory, open };
}

type Paced = ReturnType<typeof openPaced>;

/** Publishes to a stream as fast as it is stored, with `inFlight` batches unanswered; resolves to the bytes stored. */
async function publishFor({ vault, clock }: Paced, stream: string, seconds: number, inFlight: number): Promise<number> {
  const until = clock.monotonic() + seconds * 1000;
  const value = "x".repeat(20 * KiB);
  let bytes = 0;
  const run = async () => {
    while (clock.monotonic() < until) {
      await publish(vault, stream, [value]);
      if (clock.monotonic() <= until) bytes += value.length;
    }
  };
  await drive(clock, Promise.all(Array.from({ length: inFlight }, run)));
  return bytes;
}

test("paced commits - one stream stores what its page blob takes, and nothing is throttled", async (t) => {
  const paced = openPaced(t, small, smallPace);
  await publishFor(paced, "s", 2, 60);
  const bytes = await publishFor(paced, "s", 10, 60);
  const share = bytes / (10 * small.blobBytesPerSecond);
  t.true(share >= 0.9 && share <= 1.1, `${share} of the limit`);
  t.is(paced.azure.counts.throttled, 0);
});

test("paced commits - storage that allows less than is known is not pressed: most of it is used, few requests are refused", async (t) => {
  const paced = openPaced(t, { ...small, blobBytesPerSecond: 3 * MiB }, smallPace);
  await publishFor(paced, "s", 10, 60);
  const before = { ...paced.azure.counts };
  const bytes = await publishFor(paced, "s", 60, 60);
  const { requests, throttled } = paced.azure.counts;
  const share = bytes / (60 * 3 * MiB);
  t.true(share >= 0.9, `${share} of the limit`);
  const refused = (throttled - before.throttled) / (requests - before.requests);
  t.true(refused <= 0.02, `${refused} of the requests refused`);
});

test("paced commits - many streams share the account's requests: commits grow, nothing is throttled, nothing is lost", async (t) => {
  const limits = { accountRequestsPerSecond: 200 };
  const paced = openPaced(t, limits, { ...azurePace, accountRequestsPerSecondMax: 200 });
  const { vault, azure, clock } = paced;
  const streams = Array.from({ length: 20 }, (_, index) => `s${index}`);
  await drive(clock, Promise.all(streams.map((stream) => publish(vault, stream, ["first"]))));
  const from = { requests: azure.counts.requests, at: clock.monotonic() };
  // 2,000 publishes in two seconds, for 400 requests.
  const answers: Promise<unknown>[] = [];
  for (let i = 0; i < 100; i++) {
    for (const stream of streams) answers.push(publish(vault, stream, [`${i}`]));
    await clock.advance(20);
  }
  await drive(clock, Promise.all(answers));
  t.true(clock.monotonic() - from.at < 3000);
  t.true(azure.counts.requests - from.requests < 700, `${azure.counts.requests - from.requests}`);
  t.is(azure.counts.throttled, 0);
  const expected = ["first", ...Array.from({ length: 100 }, (_, i) => `${i}`)];
  t.deepEqual(await drive(clock, readValues(vault, "s7")), expected);
});

test("paced commits - what comes while a stream is held back goes out with the next commit", async (t) => {
  const { vault, clock, azure } = openPaced(t, {}, { ...azurePace, blobRequestsPerSecondMax: 1 });
  await drive(clock, publish(vault, "s", ["first"]));
  const published: Promise<unknown>[] = [];
  const before = azure.counts.requests;
  for (let i = 0; i < 10; i++) {
    published.push(publish(vault, "s", [`${i}`]));
    await clock.advance(20);
  }
  await drive(clock, Promise.all(published));
  t.is(azure.counts.requests - before, 1);
});

async function waitingFor(vault: VaultApi, stream: string, clock: Paced["clock"]): Promise<number> {
  const from = clock.monotonic();
  await drive(clock, publish(vault, stream, ["x"]));
  return clock.monotonic() - from;
}

test("paced commits - a throttled write is sent again when storage wants it, and other streams go on", async (t) => {
  const { vault, clock, azure } = openPaced(t, { blobBytesPerSecond: 8 * KiB, retryAfterMs: 5000 }, azurePace);
  await drive(clock, publish(vault, "other", ["first"]));
  await drive(clock, publish(vault, "s", ["first"]));
  // The bucket of the first stream is emptied: the next write finds nothing.
  await drive(clock, publish(vault, "s", ["x".repeat(16 * KiB)]));
  const publishing = waitingFor(vault, "s", clock);
  await publishing.then((ms) => t.true(ms >= 5000 && ms < 9000, `${ms} ms`));
  t.is(azure.counts.throttled, 1);
  t.true((await waitingFor(vault, "other", clock)) < 500);
});
