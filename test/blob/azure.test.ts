import test from "ava";
import { checkStorage } from "../../src/blob/check-storage.ts";
import { contract } from "../../src/blob/contract.ts";
import { openStore } from "../../src/blob/open-store.ts";
import { systemClock } from "../../src/clock.ts";
import { createAzurite } from "../support/create-azurite.ts";

for (const check of contract) {
  test(`Azurite, ${check.title}`, async (t) => {
    const azurite = await createAzurite(t);
    await check.run(await azurite.open(), "scratch/", systemClock);
    t.pass();
  });
}

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
