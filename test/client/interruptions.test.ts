import test from "ava";
import { sleep, systemClock } from "../../src/clock.ts";
import { createClient } from "../support/create-client.ts";
import { createProxy } from "../support/create-proxy.ts";
import { createVault } from "../support/create-vault.ts";

const recordCount = 4000;

test("interruptions - what is published through a failing network is stored exactly once, in order", async (t) => {
  const vault = await createVault(t);
  const proxy = await createProxy(t, vault.endpoint);
  const publisher = createClient(t, proxy).publisher("s", { batchRecords: 10, answerTimeoutMs: 300 });
  const read: string[] = [];
  const reader = createClient(t, proxy);
  await createClient(t, vault).createStream("s");
  const reading = (async () => {
    const end = { at: "count", count: BigInt(recordCount) } as const;
    for await (const { records } of reader
      .subscribe("s", { start: { at: "earliest" }, end, heartbeatMs: 100 })
      .batches()) {
      for (const { offset, value } of records) read.push(`${offset} ${Buffer.from(value).toString()}`);
    }
  })();
  for (let i = 0; i < recordCount; i++) {
    await publisher.add({ value: `record ${i}` });
    if (i % 500 === 250) {
      // Half of the time what is lost is an answer, and the vault has stored the batch.
      if (i % 1000 === 250) proxy.muffle();
      await Promise.race([publisher.flush(), sleep(systemClock, 100)]);
      proxy.cut();
    }
  }
  await publisher.close();
  await reading;
  t.deepEqual(
    read,
    Array.from({ length: recordCount }, (_, i) => `${i} record ${i}`),
  );
  t.is(publisher.acknowledged.recordCount, recordCount);
  t.true(publisher.acknowledged.duplicateCount > 0, "no answer was ever lost");
  t.true(proxy.connectionCount > 8);
});

test("interruptions - publishing goes on when the network is back", async (t) => {
  const vault = await createVault(t);
  const proxy = await createProxy(t, vault.endpoint);
  const publisher = createClient(t, proxy).publisher("s");
  await publisher.publish([{ value: "one" }]);
  proxy.refuse();
  const pending = publisher.publish([{ value: "two" }]);
  t.is(await Promise.race([pending, sleep(systemClock, 300)]), undefined);
  proxy.restore();
  t.is((await pending).firstOffset, 1n);
});

test("interruptions - a subscription is not resumed in a stream that was made anew", async (t) => {
  t.timeout(20_000);
  const vault = await createVault(t);
  const proxy = await createProxy(t, vault.endpoint);
  const direct = createClient(t, vault);
  await direct.publish("s", [{ value: "old" }]);
  const subscription = createClient(t, proxy)
    .subscribe("s", { start: { at: "earliest" } })
    .batches();
  await subscription.next();
  proxy.refuse();
  await direct.deleteStream("s");
  await direct.publish("s", [{ value: "new" }]);
  proxy.restore();
  const drain = async () => {
    for await (const delivery of subscription) t.is(delivery.recordCount, 0);
  };
  await t.throwsAsync(drain, { message: /incarnation/i });
});
