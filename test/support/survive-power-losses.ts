import { setImmediate } from "node:timers/promises";
import type { ExecutionContext } from "ava";
import { isKind } from "../../src/errors.ts";
import type { Vault } from "../../src/stream/vault.ts";
import { createRandom } from "./create-clock.ts";
import { createLossyFileSystem } from "./create-lossy-file-system.ts";
import { createPoweredVault } from "./create-powered-vault.ts";
import { publish } from "./publish-records.ts";
import { findGap } from "./read-stream.ts";
import { readRecords } from "./read-records.ts";
import { verifyStore } from "./verify-storage.ts";

const crashesPerSeed = 4;
const publishers = 3;

interface Batch {
  readonly id: string;
  readonly sequence: bigint;
  readonly values: readonly string[];
}

interface StoredBatch extends Batch {
  readonly firstOffset: bigint;
}

/** What is known of the stream that is published to all the time. */
interface Busy {
  readonly stored: StoredBatch[];
  /** By publisher: what was under way when the power failed. */
  readonly pending: Map<string, Batch>;
  readonly nextSequences: Map<string, bigint>;
  /** The first offset by the last trim that was acknowledged, and by one that was under way. */
  start: bigint;
  startAtMost: bigint;
}

/** What is known of a stream that is made and deleted over and over: undefined is "either". */
interface Fleeting {
  exists: boolean | undefined;
  /** Values that were acknowledged since it was made last. */
  values: string[];
  round: number;
}

/** Does `act` over and over until the power is gone. */
async function untilPowerFails(power: AbortController, act: () => Promise<void>): Promise<void> {
  while (!power.signal.aborted) {
    // What is answered from memory would not let the disk have its turn.
    await setImmediate();
    try {
      await act();
    } catch (error) {
      power.abort();
      if (!isKind(error, "indeterminate", "unavailable")) throw error;
    }
  }
}

function publishOn(power: AbortController, vault: Vault, busy: Busy, id: string, random: () => number): Promise<void> {
  return untilPowerFails(power, async () => {
    const sequence = busy.nextSequences.get(id) ?? 0n;
    const count = 1 + Math.floor(random() * 3);
    const values = Array.from({ length: count }, (_, i) =>
      `${id} ${sequence} ${i} `.padEnd(Math.floor(random() * 3000), "."),
    );
    const batch = busy.pending.get(id) ?? { id, sequence, values };
    busy.pending.set(id, batch);
    await resend(vault, busy, batch);
  });
}

/** Publishes a batch, once more if need be; acknowledged, it is stored. */
async function resend(vault: Vault, busy: Busy, batch: Batch): Promise<void> {
  const { id, sequence, values } = batch;
  const { firstOffset } = await publish(vault, "busy", values, { producer: { id, sequence } });
  busy.stored.push({ ...batch, firstOffset });
  busy.pending.delete(id);
  busy.nextSequences.set(id, sequence + 1n);
}

function trimNowAndThen(power: AbortController, vault: Vault, busy: Busy, random: () => number): Promise<void> {
  return untilPowerFails(power, async () => {
    const { nextOffset } = await vault.getStream("busy");
    if (random() > 0.1 || nextOffset - busy.start < 60n) return;
    const offset = nextOffset - 40n;
    busy.startAtMost = offset;
    busy.start = await vault.trimStream("busy", { offset });
  });
}

function makeAndDelete(power: AbortController, vault: Vault, fleeting: Fleeting, random: () => number): Promise<void> {
  return untilPowerFails(power, async () => {
    if (fleeting.exists === true && random() < 0.2) {
      fleeting.exists = undefined;
      await vault.deleteStream("fleeting", undefined);
      fleeting.exists = false;
      fleeting.values = [];
    } else {
      if (fleeting.exists === false) fleeting.exists = undefined;
      const value = `${fleeting.round++} `.padEnd(2000, "-");
      await publish(vault, "fleeting", [value]);
      fleeting.exists = true;
      fleeting.values.push(value);
    }
  });
}

async function checkBusy(t: ExecutionContext, vault: Vault, busy: Busy, what: string): Promise<void> {
  if (busy.stored.length === 0 && busy.pending.size === 0) return;
  const start = await vault.getStream("busy").then(
    (info) => info.firstOffset,
    (error: unknown) => (isKind(error, "notFound") && busy.stored.length === 0 ? 0n : Promise.reject(error)),
  );
  t.true(start >= busy.start && start <= busy.startAtMost, `${what}: begins at ${start}`);
  busy.start = busy.startAtMost = start;
  for (const batch of busy.pending.values()) await resend(vault, busy, batch);
  const records = await readRecords(vault, "busy");
  t.is(findGap(records, start), undefined, what);
  const found = records.map(({ value }) => Buffer.from(value).toString());
  const expected = new Map<bigint, string>();
  for (const { firstOffset, values } of busy.stored) {
    for (const [i, value] of values.entries()) expected.set(firstOffset + BigInt(i), value);
  }
  const kept = [...expected].filter(([offset]) => offset >= start).toSorted(([one], [other]) => Number(one - other));
  // Also: what was sent again is there once, and nothing is there that nobody sent.
  t.deepEqual(shorten(found), shorten(kept.map(([, value]) => value)), what);
  for (const { id, sequence, values, firstOffset } of busy.stored.slice(-10)) {
    const again = await publish(vault, "busy", values, { producer: { id, sequence } });
    t.like(again, { firstOffset, duplicate: true }, `${what}: ${id} ${sequence}`);
  }
}

async function checkFleeting(t: ExecutionContext, vault: Vault, fleeting: Fleeting, what: string): Promise<void> {
  const found = await readRecords(vault, "fleeting").catch((error: unknown) => {
    if (isKind(error, "notFound")) return undefined;
    throw error;
  });
  if (fleeting.exists === true) t.truthy(found, `${what}: the stream is there`);
  if (fleeting.exists === false) t.is(found, undefined, `${what}: the stream is gone`);
  const values = found?.map(({ value }) => Buffer.from(value).toString()) ?? [];
  // One more may have been under way; and where a deletion was, all or nothing is there.
  const kept = fleeting.exists === true || values.length > 1 ? values.slice(0, fleeting.values.length) : [];
  if (kept.length > 0 || fleeting.exists === true) t.deepEqual(shorten(kept), shorten(fleeting.values), what);
  t.true(values.length <= fleeting.values.length + 1, what);
  fleeting.exists = found !== undefined;
  fleeting.values = values;
}

/** What differs is seen at the beginning; the rest would fill screens. */
function shorten(values: readonly string[]): string[] {
  return values.map((value) => `${value.slice(0, 20).replace(/[.-]+$/, "")} ${value.length}`);
}

async function loadUntilPowerFails(vault: Vault, busy: Busy, fleeting: Fleeting, random: () => number): Promise<void> {
  const power = new AbortController();
  const ids = Array.from({ length: publishers }, (_, i) => `p${i}`);
  const work = ids.map((id) => publishOn(power, vault, busy, id, random));
  if (busy.stored.length > 0) work.push(trimNowAndThen(power, vault, busy, random));
  work.push(makeAndDelete(power, vault, fleeting, random));
  await Promise.all(work);
}

/**
 * Lets the power fail over and over under a whole vault that is published to, trimmed, and in which streams come and go,
 * at moments that the seed says; what was not synced is dropped at random. Everything acknowledged must be there after.
 */
export async function survivePowerLosses(t: ExecutionContext, seed: number): Promise<void> {
  const random = createRandom(seed);
  const files = await createLossyFileSystem(t);
  const busy: Busy = { stored: [], pending: new Map(), nextSequences: new Map(), start: 0n, startAtMost: 0n };
  const fleeting: Fleeting = { exists: false, values: [], round: 0 };
  for (let crash = 1; crash <= crashesPerSeed; crash++) {
    const powered = await createPoweredVault(t, files);
    powered.cutAfter(20 + Math.floor(random() * 1500));
    await loadUntilPowerFails(powered.vault, busy, fleeting, random);
    await powered.abandon();
    await files.crash(seed * 100 + crash);
    const again = await createPoweredVault(t, files);
    const what = `seed ${seed}, crash ${crash}`;
    await checkBusy(t, again.vault, busy, what);
    await checkFleeting(t, again.vault, fleeting, what);
    t.deepEqual((await verifyStore(again.store)).findings, [], what);
    // By turns in an orderly way, and with another loss of power right behind the recovery.
    if (crash % 2 === 0) await again.close();
    else {
      await again.abandon();
      await files.crash(seed * 100 + 50 + crash);
    }
  }
  t.log(`seed ${seed}: ${busy.stored.length} batches`);
}
