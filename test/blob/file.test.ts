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

test("file store, the last blobs of directories are deleted while others are made there - all are made", async (t) => {
  const { store } = await createFileStore(t, {});
  for (let round = 0; round < 100; round++) {
    const names = [0, 1, 2, 3].map((number) => `streams/s${number}/stream.json`);
    await Promise.all(
      names.map(async (name, at) => {
        for (let turn = 0; turn < 2 + at; turn++) {
          await store.put(name, Buffer.from("{}"), { ifNoneMatch: "*" });
          await store.remove(name);
        }
      }),
    );
  }
  await t.notThrowsAsync(store.put("streams/s/stream.json", Buffer.from("{}"), { ifNoneMatch: "*" }));
});
