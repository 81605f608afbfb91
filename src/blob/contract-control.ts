import type { Clock } from "../clock.ts";
import type { BlobStore } from "./blob-store.ts";
import { pageBytes } from "./blob-store.ts";
import type { ContractCheck } from "./contract-check.ts";
import { expectEqual, expectRejection } from "./contract-check.ts";

async function createControl(store: BlobStore, prefix: string, clock: Clock) {
  const name = `${prefix}leader`;
  const etag = await store.createControl(name, { epoch: "1" });
  return { name, etag, one: clock.id(), other: clock.id() };
}

async function expectLeased(store: BlobStore, name: string, leased: boolean, etag: string): Promise<void> {
  const found = await store.properties(name);
  expectEqual("leased", found?.leased, leased);
  expectEqual("version", found?.etag, etag);
}

/** The control blob: metadata and lease. Nothing here waits for a lease to run out. */
export const controlChecks: readonly ContractCheck[] = [
  {
    title: "control blob - is made once, with its metadata",
    async run(store, prefix) {
      const metadata = { epoch: "12", endpoint: "http://10.0.0.1:50051/?a=b&c", node: "n 1", since: "2026-01-01" };
      const etag = await store.createControl(`${prefix}leader`, metadata);
      const found = await store.properties(`${prefix}leader`);
      const sorted = (entries: object) => Object.entries(entries).toSorted(([a], [b]) => (a < b ? -1 : 1));
      expectEqual("metadata", sorted(found?.metadata ?? {}), sorted(metadata));
      expectEqual("version", found?.etag, etag);
      expectEqual("size", found?.sizeBytes, pageBytes);
      expectEqual("leased", found?.leased, false);
      await expectRejection("again", store.createControl(`${prefix}leader`, {}), "alreadyExists");
    },
  },
  {
    title: "metadata - is replaced as a whole under its version, and refused under another",
    async run(store, prefix, clock) {
      const { name, etag } = await createControl(store, prefix, clock);
      const changed = await store.setMetadata(name, { node: "b" }, etag);
      expectEqual("version changed", changed !== etag, true);
      await expectRejection("old version", store.setMetadata(name, { node: "c" }, etag), "conflict", "etag");
      const found = await store.properties(name);
      expectEqual("metadata", found?.metadata, { node: "b" });
      expectEqual("version", found?.etag, changed);
      await expectRejection("no blob", store.setMetadata(`${prefix}none`, {}, etag), "notFound");
    },
  },
  {
    title: "metadata - names and values that HTTP headers cannot carry are refused",
    async run(store, prefix) {
      const wrong = [{ Epoch: "1" }, { "a-b": "1" }, { a: "" }, { a: "ä" }, { a: " x" }, { a: "x\n" }, { "1a": "x" }];
      for (const metadata of [...wrong, { a: "x".repeat(1000) }]) {
        const what = JSON.stringify(metadata).slice(0, 40);
        await expectRejection(what, store.createControl(`${prefix}leader`, metadata), "invalid");
      }
    },
  },
  {
    title: "lease - is one owner's: taken, taken again under the same id, refused to others, renewed, given back",
    async run(store, prefix, clock) {
      const { name, etag, one, other } = await createControl(store, prefix, clock);
      await store.acquireLease(name, one, 15);
      await store.acquireLease(name, one, 60);
      await expectRejection("another's acquire", store.acquireLease(name, other, 15), "conflict", "lease");
      const renewed = await store.renewLease(name, one);
      await expectRejection("another's release", store.releaseLease(name, other), "conflict", "lease");
      await expectLeased(store, name, true, etag);
      const later = (await store.properties(name))?.date ?? 0;
      expectEqual("a renewal tells the version", renewed.etag, etag);
      expectEqual("a renewal's time is storage's", renewed.date > later - 60_000 && renewed.date <= later, true);
      await store.releaseLease(name, one);
      await expectLeased(store, name, false, etag);
      await expectRejection("renew after release", store.renewLease(name, one), "conflict", "lease");
      await store.acquireLease(name, other, 15);
      await expectRejection("the former owner's renew", store.renewLease(name, one), "conflict", "lease");
      await store.releaseLease(name, other);
    },
  },
  {
    title: "lease - keeps changes without its id out, and lets them through with it",
    async run(store, prefix, clock) {
      const { name, etag, one, other } = await createControl(store, prefix, clock);
      const wrong = store.setMetadata(name, { node: "a" }, etag, one);
      await expectRejection("an id without a lease", wrong, "conflict", "lease");
      await store.acquireLease(name, one, 15);
      await expectRejection("without an id", store.setMetadata(name, { node: "b" }, etag), "conflict", "lease");
      const foreign = store.setMetadata(name, { node: "b" }, etag, other);
      await expectRejection("with another id", foreign, "conflict", "lease");
      await expectRejection("remove", store.remove(name), "conflict", "lease");
      const changed = await store.setMetadata(name, { node: "c" }, etag, one);
      await store.renewLease(name, one);
      await expectLeased(store, name, true, changed);
      await store.releaseLease(name, one);
    },
  },
  {
    title: "lease - breaking ends it at once under the version that was read, and not under another",
    async run(store, prefix, clock) {
      const { name, etag, one, other } = await createControl(store, prefix, clock);
      await expectRejection("no lease", store.breakLease(name, etag), "conflict", "lease");
      await store.acquireLease(name, one, 60);
      const claimed = await store.setMetadata(name, { epoch: "2" }, etag, one);
      await expectRejection("old version", store.breakLease(name, etag), "conflict", "etag");
      await store.breakLease(name, claimed);
      await expectLeased(store, name, false, claimed);
      await expectRejection("renew after break", store.renewLease(name, one), "conflict", "lease");
      const late = store.setMetadata(name, { epoch: "9" }, claimed, one);
      await expectRejection("the former owner's change", late, "conflict", "lease");
      await store.acquireLease(name, other, 15);
      await store.releaseLease(name, other);
    },
  },
  {
    title: "lease - break, claim, acquire: the claim ends every version that others had read",
    async run(store, prefix, clock) {
      const { name, etag, one, other } = await createControl(store, prefix, clock);
      await store.acquireLease(name, one, 60);
      await store.breakLease(name, etag);
      const claimed = await store.setMetadata(name, { epoch: "2" }, etag);
      await store.acquireLease(name, other, 15);
      await expectRejection("a slower break", store.breakLease(name, etag), "conflict", "etag");
      await expectRejection("the former owner's renew", store.renewLease(name, one), "conflict", "lease");
      await expectLeased(store, name, true, claimed);
      await store.releaseLease(name, other);
    },
  },
  {
    title: "lease - arguments out of range are refused, and a missing blob is not found",
    async run(store, prefix, clock) {
      const { name, one } = await createControl(store, prefix, clock);
      for (const seconds of [0, 14, 61, -1, 15.5]) {
        await expectRejection(`${seconds} s`, store.acquireLease(name, one, seconds), "invalid");
      }
      await expectRejection("an id", store.acquireLease(name, "me", 15), "invalid");
      await expectRejection("acquire", store.acquireLease(`${prefix}none`, one, 15), "notFound");
      await expectRejection("renew", store.renewLease(`${prefix}none`, one), "notFound");
      await expectRejection("release", store.releaseLease(`${prefix}none`, one), "notFound");
      await expectRejection("break", store.breakLease(`${prefix}none`, '"0x1"'), "notFound");
    },
  },
];
