import test from "ava";
import type { ExecutionContext } from "ava";
import { createClient } from "../support/create-client.ts";
import { createScriptedVault } from "../support/create-scripted-vault.ts";

/** A vault with two responses of two records each, and a heartbeat between, of a stream that goes on to offset 10. */
async function createStream(t: ExecutionContext) {
  const records = (...offsets: number[]) =>
    offsets.map((offset) => ({
      offset: BigInt(offset),
      timestamp: { seconds: BigInt(100 + offset) },
      value: Buffer.from(`${offset}`),
    }));
  const tail = { tailOffset: 10n, tailTimestamp: { seconds: 109n } };
  const vault = await createScriptedVault(t, {
    subscribe: [
      async function* () {
        yield { records: records(0, 1), nextOffset: 2n, ...tail, incarnation: "feed" };
        yield { nextOffset: 5n, ...tail };
        yield { records: records(5, 6), nextOffset: 10n, ...tail, caughtUp: true };
      },
    ],
  });
  return createClient(t, vault);
}

const range = { start: { at: "earliest" }, end: { at: "offset", offset: 10n } } as const;

test("subscription - yields records, with where to resume and the lag behind each", async (t) => {
  const client = await createStream(t);
  const subscription = client.subscribe("s", range);
  t.is(subscription.nextOffset, undefined);
  t.is(subscription.lag, undefined);
  const seen: unknown[] = [];
  for await (const record of subscription) {
    const { nextOffset, lag } = subscription;
    seen.push([record.offset, record.text(), nextOffset, lag?.records, lag?.seconds]);
  }
  t.deepEqual(seen, [
    [0n, "0", 1n, 9n, 9],
    [1n, "1", 2n, 8n, 8],
    [5n, "5", 6n, 4n, 4],
    // The vault has looked at what a filter passed over, up to the tail.
    [6n, "6", 10n, 0n, 0],
  ]);
});

test("subscription - yields batches, heartbeats included", async (t) => {
  const client = await createStream(t);
  const subscription = client.subscribe("s", range);
  const seen: unknown[] = [];
  for await (const { recordCount, records, nextOffset, lag, lastTimestamp } of subscription.batches()) {
    t.is(records.length, recordCount);
    t.is(subscription.nextOffset, nextOffset);
    t.deepEqual(subscription.lag, lag);
    seen.push([recordCount, nextOffset, lag.records, lag.seconds, lastTimestamp]);
  }
  t.deepEqual(seen, [
    [2, 2n, 8n, 8, 101_000],
    [0, 5n, 5n, 8, 101_000],
    [2, 10n, 0n, 0, 106_000],
  ]);
});

test("subscription - is read once", async (t) => {
  const client = await createStream(t);
  const subscription = client.subscribe("s", range);
  for await (const record of subscription) {
    t.is(record.offset, 0n);
    break;
  }
  t.throws(() => subscription[Symbol.asyncIterator](), { message: /read once/ });
});
