import test from "ava";
import { contract } from "../../src/blob/contract.ts";
import { systemClock } from "../../src/clock.ts";
import { createAzurite } from "../support/create-azurite.ts";

for (const check of contract) {
  test(`Azurite, ${check.title}`, async (t) => {
    const azurite = await createAzurite(t);
    await check.run(await azurite.open(), "scratch/", systemClock);
    t.pass();
  });
}
