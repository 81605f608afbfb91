import test from "ava";
import type { ExecutionContext } from "ava";
import type { BlobStore } from "../../src/blob/blob-store.ts";
import { createMemoryStore } from "../../src/blob/memory.ts";
import { VaultError } from "../../src/errors.ts";
import type { ManualClock } from "../support/create-clock.ts";
import { createClock } from "../support/create-clock.ts";
import { createFileStore } from "../support/create-file-store.ts";

const one = "1".repeat(32);
const other = "2".repeat(32);
const name = "cluster/leader";

const stores: Record<string, (t: ExecutionContext, clock: ManualClock) => Promise<BlobStore>> = {
  memory: async (_t, clock) => createMemoryStore(clock),
  file: async (t, clock) => (await createFileStore(t, { clock })).store,
};

async function isLeaseConflict(t: ExecutionContext, promise: Promise<unknown>): Promise<void> {
  const error = await t.throwsAsync(promise, { instanceOf: VaultError });
  t.is(error.kind, "conflict");
  t.is(error.detail.condition, "lease");
}

for (const [kind, open] of Object.entries(stores)) {
  test(`${kind} lease - ends when its seconds are over, not a millisecond before`, async (t) => {
    const clock = createClock();
    const store = await open(t, clock);
    await store.createControl(name, {});
    await store.acquireLease(name, one, 15);
    await clock.advance(14_999);
    t.true((await store.properties(name))?.leased);
    await isLeaseConflict(t, store.acquireLease(name, other, 15));
    await clock.advance(1);
    t.false((await store.properties(name))?.leased);
    await store.acquireLease(name, other, 15);
    await isLeaseConflict(t, store.renewLease(name, one));
  });

  test(`${kind} lease - renewing begins its time anew`, async (t) => {
    const clock = createClock();
    const store = await open(t, clock);
    await store.createControl(name, {});
    await store.acquireLease(name, one, 20);
    for (let renewal = 0; renewal < 3; renewal += 1) {
      await clock.advance(19_000);
      await store.renewLease(name, one);
    }
    await clock.advance(19_999);
    t.true((await store.properties(name))?.leased);
  });

  test(`${kind} lease - one that ran out is renewed by its owner, unless the blob was changed or leased since`, async (t) => {
    const clock = createClock();
    const store = await open(t, clock);
    const etag = await store.createControl(name, {});
    await store.acquireLease(name, one, 15);
    await clock.advance(20_000);
    await isLeaseConflict(t, store.setMetadata(name, { a: "late" }, etag, one));
    await isLeaseConflict(t, store.renewLease(name, other));
    await store.renewLease(name, one);
    await clock.advance(20_000);
    await store.setMetadata(name, { a: "b" }, etag);
    await isLeaseConflict(t, store.renewLease(name, one));
  });

  test(`${kind} lease - one that ran out can be broken, and then not renewed`, async (t) => {
    const clock = createClock();
    const store = await open(t, clock);
    const etag = await store.createControl(name, {});
    await store.acquireLease(name, one, 15);
    await clock.advance(20_000);
    await store.breakLease(name, etag);
    await isLeaseConflict(t, store.renewLease(name, one));
    await store.breakLease(name, etag);
  });

  test(`${kind} lease - a wall clock that jumps does not end it`, async (t) => {
    const clock = createClock();
    const jumped = { ...clock, now: () => clock.now() + 3_600_000 };
    const store = await open(t, jumped);
    await store.createControl(name, {});
    await store.acquireLease(name, one, 15);
    t.true((await store.properties(name))?.leased);
  });
}

test("memory store - is full at its capacity, and has room again after a removal", async (t) => {
  const store = createMemoryStore(createClock(), { capacityBytes: 256 * 1024 });
  await store.put("a", Buffer.alloc(200_000, 1), "always");
  const error = await t.throwsAsync(store.put("b", Buffer.alloc(100_000, 1), "always"), { instanceOf: VaultError });
  t.is(error.kind, "overloaded");
  await store.remove("a");
  await store.put("b", Buffer.alloc(100_000, 1), "always");
});

test("memory store - a large page blob takes memory only for what was written", async (t) => {
  const store = createMemoryStore(createClock(), { capacityBytes: 1024 * 1024 });
  const fence = { epoch: 1, assertHeld() {} };
  const etag = await store.createPages("large", 1024 ** 4, fence);
  await store.writePages("large", 1024 ** 4 - 4096, Buffer.alloc(4096, 7), etag, fence);
  t.is((await store.read("large", 1024 ** 4 - 1, 100)).bytes.toString("hex"), "07");
  store.damage("large", 1024 ** 4 - 1, Buffer.from([8]));
  t.is((await store.read("large", 1024 ** 4 - 1, 100)).bytes.toString("hex"), "08");
});
