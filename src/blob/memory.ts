/**
 * A store in memory: for tests, for simulation (which wraps it to inject faults) and for `--storage memory:`.
 *
 * Invariants:
 * - A call is judged and applied as a whole before it returns its promise: calls are in one order, the caller's.
 * - Bytes are copied on the way in and on the way out.
 * - No version is ever used twice, not even by a blob that was deleted and made again.
 * - Nothing depends on real time or randomness: leases end by the clock's monotonic time.
 */
import type { Clock } from "../clock.ts";
import { VaultError } from "../errors.ts";
import { blobExists, blobNotFound, etagConflict, invalidArgument, sequenceConflict } from "./blob-errors.ts";
import type { BlobProperties, BlobStore, Etag, Fence, PutCondition } from "./blob-store.ts";
import { pageBytes } from "./blob-store.ts";
import * as check from "./check-arguments.ts";
import * as leases from "./lease.ts";
import { pageOfFolders, pageOfNames } from "./listing.ts";
import type { SparseBytes } from "./sparse-bytes.ts";
import { createSparseBytes } from "./sparse-bytes.ts";

/** The limits of a store in memory. */
export interface MemoryStoreSettings {
  /** How much memory all blobs may take before changes fail as `overloaded`. */
  readonly capacityBytes: number;
}

/** The limits where none are given. */
export const memoryStoreDefaults: MemoryStoreSettings = { capacityBytes: 4 * 1024 ** 3 };

/** A store in memory, with a way past its conditions. */
export interface MemoryStore extends BlobStore {
  /** Overwrites bytes of a blob without a condition and without changing its version: damage, for tests. */
  damage(name: string, position: number, bytes: Uint8Array): void;
}

interface Blob {
  readonly kind: "page" | "block";
  etag: Etag;
  sequenceNumber: number;
  metadata: Readonly<Record<string, string>>;
  content: SparseBytes;
  lease: leases.Lease | undefined;
}

/** Makes an empty store. `close` does nothing to it, so that a vault may be opened on it again. */
export function createMemoryStore(clock: Clock, settings: Partial<MemoryStoreSettings> = {}): MemoryStore {
  const { capacityBytes } = { ...memoryStoreDefaults, ...settings };
  const blobs = new Map<string, Blob>();
  let sortedNames: string[] | undefined;
  let versions = 0;
  let usedBytes = 0;

  // Storage's time has whole seconds on Azure, so it has here.
  const date = () => Math.floor(clock.now() / 1000) * 1000;

  function nextEtag(): Etag {
    versions += 1;
    return `"${versions.toString(16).padStart(8, "0")}"`;
  }

  function find(name: string): Blob {
    const blob = blobs.get(name);
    if (blob === undefined) throw blobNotFound(name);
    return blob;
  }

  function findPages(name: string): Blob {
    const blob = find(name);
    if (blob.kind !== "page") throw invalidArgument(name, "it is not a page blob");
    return blob;
  }

  function checkConditions(
    name: string,
    blob: Blob,
    ifMatch: Etag | undefined,
    epoch?: number,
    leaseId?: string,
  ): void {
    leases.checkChange(name, blob.lease, leaseId, clock.monotonic());
    if (ifMatch !== undefined && blob.etag !== ifMatch) throw etagConflict(name);
    if (epoch !== undefined && blob.sequenceNumber !== epoch) {
      throw sequenceConflict(name, epoch, blob.sequenceNumber);
    }
  }

  function changed(blob: Blob): Etag {
    blob.lease = leases.afterChange(blob.lease, clock.monotonic());
    blob.etag = nextEtag();
    return blob.etag;
  }

  function checkCapacity(lengthBytes: number): void {
    if (usedBytes + lengthBytes > capacityBytes) {
      throw new VaultError("overloaded", `the memory store is full: it may hold ${capacityBytes} bytes`);
    }
  }

  function createBlob(name: string, kind: Blob["kind"], content: SparseBytes, rest: Partial<Blob> = {}): Etag {
    if (!blobs.has(name)) sortedNames = undefined;
    const blob: Blob = { kind, etag: nextEtag(), sequenceNumber: 0, metadata: {}, content, lease: undefined, ...rest };
    blobs.set(name, blob);
    return blob.etag;
  }

  function allNames(): string[] {
    sortedNames ??= [...blobs.keys()].toSorted();
    return sortedNames;
  }

  // `async` on every method turns a throw into a rejection; the body still runs at the call.
  return {
    description: "memory:",

    async createPages(name: string, sizeBytes: number, fence: Fence) {
      check.checkName(name);
      check.checkPageBlobSize(name, sizeBytes);
      check.checkEpoch(name, fence);
      fence.assertHeld();
      if (blobs.has(name)) throw blobExists(name);
      return createBlob(name, "page", createSparseBytes(sizeBytes), { sequenceNumber: fence.epoch });
    },

    async writePages(name: string, position: number, bytes: Uint8Array, ifMatch: Etag, fence: Fence) {
      check.checkName(name);
      check.checkWrite(name, position, bytes.length);
      check.checkEpoch(name, fence);
      fence.assertHeld();
      const blob = findPages(name);
      check.checkWithin(name, position, bytes.length, blob.content.sizeBytes);
      checkConditions(name, blob, ifMatch, fence.epoch);
      checkCapacity(bytes.length);
      usedBytes += blob.content.write(position, bytes);
      return changed(blob);
    },

    async clearPages(name: string, position: number, lengthBytes: number, ifMatch: Etag, fence: Fence) {
      check.checkName(name);
      check.checkPageRange(name, position, lengthBytes);
      check.checkEpoch(name, fence);
      fence.assertHeld();
      const blob = findPages(name);
      check.checkWithin(name, position, lengthBytes, blob.content.sizeBytes);
      checkConditions(name, blob, ifMatch, fence.epoch);
      usedBytes -= blob.content.clear(position, lengthBytes);
      return changed(blob);
    },

    async raiseFence(name: string, ifMatch: Etag, fence: Fence) {
      check.checkName(name);
      check.checkEpoch(name, fence);
      fence.assertHeld();
      const blob = findPages(name);
      checkConditions(name, blob, ifMatch);
      blob.sequenceNumber = Math.max(blob.sequenceNumber, fence.epoch);
      return { etag: changed(blob), sequenceNumber: blob.sequenceNumber };
    },

    async read(name: string, position: number, lengthBytes: number) {
      check.checkName(name);
      check.checkRead(name, position, lengthBytes);
      const { content, etag } = find(name);
      const length = Math.max(0, Math.min(lengthBytes, content.sizeBytes - position));
      return { bytes: content.read(position, length), etag };
    },

    async put(name: string, bytes: Uint8Array, condition: PutCondition) {
      check.checkName(name);
      check.checkPut(name, bytes.length);
      const blob = blobs.get(name);
      if (blob === undefined) {
        if (condition !== "always" && "ifMatch" in condition) throw etagConflict(name);
      } else {
        if (condition !== "always" && "ifNoneMatch" in condition) throw blobExists(name);
        if (blob.kind !== "block") throw invalidArgument(name, "it is not a block blob");
        checkConditions(name, blob, condition === "always" ? undefined : condition.ifMatch);
      }
      checkCapacity(bytes.length);
      const content = createSparseBytes(bytes.length);
      usedBytes += content.write(0, bytes) - (blob?.content.usedBytes() ?? 0);
      if (blob === undefined) return createBlob(name, "block", content);
      blob.content = content;
      blob.metadata = {};
      return changed(blob);
    },

    async get(name: string) {
      check.checkName(name);
      const blob = blobs.get(name);
      return blob === undefined ? undefined : { bytes: blob.content.read(0, blob.content.sizeBytes), etag: blob.etag };
    },

    async properties(name: string): Promise<BlobProperties | undefined> {
      check.checkName(name);
      const blob = blobs.get(name);
      if (blob === undefined) return undefined;
      const { etag, sequenceNumber, metadata } = blob;
      const leased = leases.isHeld(blob.lease, clock.monotonic());
      return { etag, sizeBytes: blob.content.sizeBytes, sequenceNumber, metadata, leased, date: date() };
    },

    async remove(name: string, ifMatch?: Etag) {
      check.checkName(name);
      const blob = blobs.get(name);
      if (blob === undefined) return false;
      checkConditions(name, blob, ifMatch);
      blobs.delete(name);
      sortedNames = undefined;
      usedBytes -= blob.content.usedBytes();
      return true;
    },

    async list(prefix: string, limit: number, from?: string) {
      check.checkListing(prefix, limit);
      const { items, next } = pageOfNames(allNames(), prefix, limit, from);
      const entries = items.map((name) => ({ name, sizeBytes: find(name).content.sizeBytes }));
      return { items: entries, next, date: date() };
    },

    async listFolders(prefix: string, limit: number, from?: string) {
      check.checkListing(prefix, limit);
      return { ...pageOfFolders(allNames(), prefix, limit, from), date: date() };
    },

    async createControl(name: string, metadata: Readonly<Record<string, string>>) {
      check.checkName(name);
      check.checkMetadata(name, metadata);
      if (blobs.has(name)) throw blobExists(name);
      return createBlob(name, "page", createSparseBytes(pageBytes), { metadata: { ...metadata } });
    },

    async setMetadata(name: string, metadata: Readonly<Record<string, string>>, ifMatch: Etag, leaseId?: string) {
      check.checkName(name);
      check.checkMetadata(name, metadata);
      if (leaseId !== undefined) check.checkLeaseId(name, leaseId);
      const blob = findPages(name);
      checkConditions(name, blob, ifMatch, undefined, leaseId);
      blob.metadata = { ...metadata };
      return changed(blob);
    },

    async acquireLease(name: string, leaseId: string, seconds: number) {
      check.checkName(name);
      check.checkLeaseId(name, leaseId);
      check.checkLeaseSeconds(name, seconds);
      const blob = find(name);
      blob.lease = leases.acquired(name, blob.lease, leaseId, seconds, clock.monotonic());
      return { date: date() };
    },

    async renewLease(name: string, leaseId: string) {
      check.checkName(name);
      check.checkLeaseId(name, leaseId);
      const blob = find(name);
      blob.lease = leases.renewed(name, blob.lease, leaseId, clock.monotonic());
      return { date: date(), etag: blob.etag };
    },

    async releaseLease(name: string, leaseId: string) {
      check.checkName(name);
      check.checkLeaseId(name, leaseId);
      const blob = find(name);
      leases.checkRelease(name, blob.lease, leaseId);
      blob.lease = undefined;
    },

    async breakLease(name: string, ifMatch: Etag) {
      check.checkName(name);
      const blob = find(name);
      if (blob.etag !== ifMatch) throw etagConflict(name);
      blob.lease = leases.broken(name, blob.lease);
    },

    async close() {},

    damage(name: string, position: number, bytes: Uint8Array) {
      usedBytes += find(name).content.write(position, bytes);
    },
  };
}
