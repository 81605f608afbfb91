import test from "ava";
import { contract } from "../../src/blob/contract.ts";
import { createMemoryStore } from "../../src/blob/memory.ts";
import { createClock } from "../support/create-clock.ts";

for (const check of contract) {
  test(`memory store, ${check.title}`, async (t) => {
    const clock = createClock();
    await check.run(createMemoryStore(clock), "scratch/", clock);
    t.pass();
  });
}
