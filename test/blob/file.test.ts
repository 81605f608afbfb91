import test from "ava";
import { contract } from "../../src/blob/contract.ts";
import { createClock } from "../support/create-clock.ts";
import { createFileStore } from "../support/create-file-store.ts";

for (const check of contract) {
  test(`file store, ${check.title}`, async (t) => {
    const clock = createClock();
    const { store } = await createFileStore(t, { clock });
    await check.run(store, "scratch/", clock);
    t.pass();
  });
}
