import test from "ava";
import { checkStorage } from "../../src/blob/check-storage.ts";
import { contract } from "../../src/blob/contract.ts";
import { openStore } from "../../src/blob/open-store.ts";
import { systemClock } from "../../src/clock.ts";
import { VaultError } from "../../src/errors.ts";
import { createAzurite } from "../support/create-azurite.ts";

for (const check of contract) {
  test(`Azurite, ${check.title}`, async (t) => {
    const azurite = await createAzurite(t);
    await check.run(await azurite.open(), "scratch/", systemClock);
    t.pass();
  });
}

test("Azurite, written end - is behind what was written, and behind nothing that was not", async (t) => {
  const store = await (await createAzurite(t)).open();
  const fence = { epoch: 1, assertHeld() {} };
  const created = await store.createPages("blob", 1024 * 1024, fence);
  t.is(await store.writtenEnd?.("blob", 5000, 100_000), 5000);
  const first = await store.writePages("blob", 0, Buffer.alloc(4096, 1), created, fence);
  const second = await store.writePages("blob", 12_288, Buffer.alloc(8192, 1), first, fence);
  t.is(await store.writtenEnd?.("blob", 100, 1024 * 1024 - 100), 20_480);
  t.is(await store.writtenEnd?.("blob", 4096, 8192), 4096);
  t.is(await store.writtenEnd?.("blob", 14_000, 1000), 15_000);
  t.is(await store.writtenEnd?.("blob", 20_480, 4096), 20_480);
  await store.clearPages("blob", 12_288, 8192, second, fence);
  t.is(await store.writtenEnd?.("blob", 0, 1024 * 1024), 4096);
  await t.throwsAsync(async () => store.writtenEnd?.("nothing", 0, 4096), { instanceOf: VaultError });
});

const realAzure = process.env["MESSAGE_VAULT_TEST_AZURE"] ?? "";

test("Azure itself - does what the contract says (where MESSAGE_VAULT_TEST_AZURE holds a storage setting)", async (t) => {
  if (realAzure === "") {
    t.log("skipped: MESSAGE_VAULT_TEST_AZURE is not set");
    t.pass();
    return;
  }
  t.timeout(300_000);
  const store = await openStore(realAzure, systemClock);
  t.teardown(() => store.close());
  for await (const { title, difference } of checkStorage(store, systemClock)) t.is(difference, undefined, title);
});
