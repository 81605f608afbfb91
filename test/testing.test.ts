import test from "ava";
import { isKind } from "../src/errors.ts";
import { startTestVault } from "../src/testing.ts";

test("testing - a vault of the test's own, which is gone when it is closed", async (t) => {
  const vault = await startTestVault();
  t.teardown(() => vault.close());
  const { firstOffset } = await vault.client.publish("orders", [{ value: "one" }]);
  t.is(firstOffset, 0n);
  const tail = vault.client.subscribe("orders", { start: { at: "earliest" } });
  for await (const record of tail) {
    t.is(record.text(), "one");
    break;
  }
  await vault.close();
  await t.throwsAsync(vault.client.getCluster({ retryForMs: 0 }), { message: "this client is closed" });
});

test("testing - vaults side by side share nothing, and a setting is checked", async (t) => {
  await using one = await startTestVault({ settings: { recordBytesMax: 1024 } });
  await using other = await startTestVault();
  t.not(one.address, other.address);
  await other.client.publish("s", [{ value: Buffer.alloc(2048) }]);
  const refused = await t.throwsAsync(one.client.publish("s", [{ value: Buffer.alloc(2048) }]));
  t.true(isKind(refused, "invalid"));
  t.deepEqual((await one.client.listStreams()).names, []);
  await t.throwsAsync(startTestVault({ settings: { recordBytesMax: -1 } }), { message: /--record-bytes-max/ });
});

test("testing - starts in milliseconds", async (t) => {
  const took: number[] = [];
  for (let i = 0; i < 5; i++) {
    const startedAt = performance.now();
    const vault = await startTestVault();
    took.push(performance.now() - startedAt);
    await vault.close();
  }
  t.log(took.map((ms) => `${ms.toFixed(1)} ms`).join(", "));
  t.true(Math.min(...took) < 500);
});
