import type { AzureContext } from "./azure-operations.ts";
import { createPageBlob, dateOf, etagOf, underVersion } from "./azure-operations.ts";
import { pageBytes } from "./blob-store.ts";
import type { BlobStore, Etag } from "./blob-store.ts";
import * as check from "./check-arguments.ts";

type ControlOperations = Pick<
  BlobStore,
  "createControl" | "setMetadata" | "acquireLease" | "renewLease" | "releaseLease" | "breakLease"
>;

/** The operations on the control blob of a store on Azure. */
export function controlOperations(context: AzureContext): ControlOperations {
  const { container, requests } = context;

  function leaseClient(name: string, leaseId?: string) {
    return container.control
      .getBlobClient(name)
      .getBlobLeaseClient(leaseId === undefined ? undefined : guidOf(leaseId));
  }

  return {
    async createControl(name: string, metadata: Readonly<Record<string, string>>) {
      check.checkName(name);
      check.checkMetadata(name, metadata);
      return createPageBlob(context, "createControl", name, pageBytes, { metadata: { ...metadata } });
    },

    async setMetadata(name: string, metadata: Readonly<Record<string, string>>, ifMatch: Etag, leaseId?: string) {
      check.checkName(name);
      check.checkMetadata(name, metadata);
      if (leaseId !== undefined) check.checkLeaseId(name, leaseId);
      const conditions = leaseId === undefined ? { ifMatch } : { ifMatch, leaseId: guidOf(leaseId) };
      const client = container.control.getBlobClient(name);
      const change = requests.control("setMetadata", name, (abortSignal) =>
        client.setMetadata({ ...metadata }, { conditions, abortSignal }),
      );
      const answer = await underVersion(context, name, change);
      return etagOf(name, answer.etag);
    },

    async acquireLease(name: string, leaseId: string, seconds: number) {
      check.checkName(name);
      check.checkLeaseId(name, leaseId);
      check.checkLeaseSeconds(name, seconds);
      const client = leaseClient(name, leaseId);
      const acquire = (abortSignal: AbortSignal) => client.acquireLease(seconds, { abortSignal });
      return { date: dateOf((await requests.control("acquireLease", name, acquire)).date) };
    },

    async renewLease(name: string, leaseId: string) {
      check.checkName(name);
      check.checkLeaseId(name, leaseId);
      const client = leaseClient(name, leaseId);
      const answer = await requests.control("renewLease", name, (abortSignal) => client.renewLease({ abortSignal }));
      return { date: dateOf(answer.date), etag: etagOf(name, answer.etag) };
    },

    async releaseLease(name: string, leaseId: string) {
      check.checkName(name);
      check.checkLeaseId(name, leaseId);
      const client = leaseClient(name, leaseId);
      await requests.control("releaseLease", name, (abortSignal) => client.releaseLease({ abortSignal }));
    },

    async breakLease(name: string, ifMatch: Etag) {
      check.checkName(name);
      const client = leaseClient(name);
      const change = requests.control("breakLease", name, (abortSignal) =>
        client.breakLease(0, { conditions: { ifMatch }, abortSignal }),
      );
      await underVersion(context, name, change);
    },
  };
}

/** The form of a lease id that Azure answers with: a GUID with its dashes. */
function guidOf(leaseId: string): string {
  return leaseId.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
