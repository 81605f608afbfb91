import test from "ava";

import { createMemoryStore } from "../../src/blob/memory.ts";
import { isKind } from "../../src/errors.ts";
import { createLease } from "../../src/leader/lease.ts";
import { createClock } from "../support/create-clock.ts";
import { createFaultyStore } from "../support/create-faulty-store.ts";

async function createBlob() {
  const clock = createClock();
  const inner = createMemoryStore(clock);
  await inner.createControl("control", {});
  const faults = createFaultyStore(inner);
  return { clock, faults, lease: createLease(faults.store, clock, "control", 15), inner };
}

test("lease - is held for its length after it was taken and after each renewal", async (t) => {
  const { clock, lease } = await createBlob();
  t.true(lease.remainingMs() <= 0);
  await lease.acquire();
  t.is(lease.remainingMs(), 15_000);
  await clock.advance(10_000);
  await lease.renew();
  t.is(lease.remainingMs(), 15_000);
  await clock.advance(15_000);
  t.is(lease.remainingMs(), 0);
});

test("lease - a renewal that storage allows after it ran out does not bring it back", async (t) => {
  const { clock, lease } = await createBlob();
  await lease.acquire();
  await clock.advance(15_000);
  await t.notThrowsAsync(lease.renew());
  t.true(lease.remainingMs() <= 0);
});

test("lease - ends at once when a renewal finds it gone, and when it is given back", async (t) => {
  const { inner, lease } = await createBlob();
  await lease.acquire();
  await inner.breakLease("control", (await inner.properties("control"))?.etag ?? "");
  t.true(isKind(await t.throwsAsync(lease.renew()), "conflict"));
  t.true(lease.remainingMs() <= 0);

  const other = (await createBlob()).lease;
  await other.acquire();
  const releasing = other.release();
  t.true(other.remainingMs() <= 0);
  await releasing;
});

test("lease - storage's time of the last answer that proves it is kept", async (t) => {
  const { clock, faults, lease } = await createBlob();
  t.is(lease.provenAt, 0);
  await lease.acquire();
  const acquiredAt = lease.provenAt;
  t.true(acquiredAt > clock.now() - 1000 && acquiredAt <= clock.now());
  await clock.advance(5000);
  await lease.renew();
  t.is(lease.provenAt, acquiredAt + 5000);
  faults.set("renewLease", () => Promise.reject(new Error("no network")));
  await clock.advance(5000);
  await t.throwsAsync(lease.renew());
  t.is(lease.provenAt, acquiredAt + 5000);
  // Another clock of storage's may be behind.
  faults.set("renewLease", async (forward) => ({ ...((await forward()) as object), date: 7 }));
  await lease.renew();
  t.is(lease.provenAt, acquiredAt + 5000);
});

test("lease - a failed renewal takes nothing away", async (t) => {
  const { clock, faults, lease } = await createBlob();
  await lease.acquire();
  faults.set("renewLease", () => Promise.reject(new Error("no network")));
  await clock.advance(5000);
  await t.throwsAsync(lease.renew());
  t.is(lease.remainingMs(), 10_000);
});
