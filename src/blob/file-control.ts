import { blobNotFound, etagConflict } from "./blob-errors.ts";
import type { BlobStore, Etag } from "./blob-store.ts";
import { pageBytes } from "./blob-store.ts";
import * as check from "./check-arguments.ts";
import type { FileBlob } from "./file-entries.ts";
import type { Header } from "./file-header.ts";
import type { FileContext } from "./file-operations.ts";
import { changed, checkConditions, createFile, loadPages } from "./file-operations.ts";
import * as leases from "./lease.ts";

type ControlOperations = Pick<
  BlobStore,
  "createControl" | "setMetadata" | "acquireLease" | "renewLease" | "releaseLease" | "breakLease"
>;

/** The operations on the control blob of a file store. */
export function controlOperations(context: FileContext): ControlOperations {
  const { entries, files, clock } = context;

  function changeLease(name: string, run: (blob: FileBlob) => void): Promise<void> {
    return entries.change(name, async (entry) => {
      const blob = await files.load(entry);
      if (blob === undefined) throw blobNotFound(name);
      run(blob);
    });
  }

  return {
    async createControl(name: string, metadata: Readonly<Record<string, string>>) {
      check.checkName(name);
      check.checkMetadata(name, metadata);
      const header: Header = { generation: 1, sizeBytes: pageBytes, sequenceNumber: 0, metadata: { ...metadata } };
      return entries.change(name, (entry) => createFile(context, entry, header));
    },

    async setMetadata(name: string, metadata: Readonly<Record<string, string>>, ifMatch: Etag, leaseId?: string) {
      check.checkName(name);
      check.checkMetadata(name, metadata);
      if (leaseId !== undefined) check.checkLeaseId(name, leaseId);
      const copy = { ...metadata };
      return entries.change(name, async (entry) => {
        const blob = await loadPages(context, entry);
        checkConditions(context, name, blob, ifMatch, undefined, leaseId);
        const { header } = blob;
        await files.changeHeader(entry, blob, { ...header, generation: header.generation + 1, metadata: copy });
        return changed(context, blob);
      });
    },

    async acquireLease(name: string, leaseId: string, seconds: number) {
      check.checkName(name);
      check.checkLeaseId(name, leaseId);
      check.checkLeaseSeconds(name, seconds);
      await changeLease(name, (blob) => {
        blob.lease = leases.acquired(name, blob.lease, leaseId, seconds, clock.monotonic());
      });
      return { date: clock.now() };
    },

    async renewLease(name: string, leaseId: string) {
      check.checkName(name);
      check.checkLeaseId(name, leaseId);
      let etag = "";
      await changeLease(name, (blob) => {
        blob.lease = leases.renewed(name, blob.lease, leaseId, clock.monotonic());
        ({ etag } = blob);
      });
      return { date: clock.now(), etag };
    },

    async releaseLease(name: string, leaseId: string) {
      check.checkName(name);
      check.checkLeaseId(name, leaseId);
      return changeLease(name, (blob) => {
        leases.checkRelease(name, blob.lease, leaseId);
        blob.lease = undefined;
      });
    },

    async breakLease(name: string, ifMatch: Etag) {
      check.checkName(name);
      return changeLease(name, (blob) => {
        if (blob.etag !== ifMatch) throw etagConflict(name);
        blob.lease = leases.broken(name, blob.lease);
      });
    },
  };
}
