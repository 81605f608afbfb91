/**
 * The store on Azure Blob Storage, and on its emulator Azurite.
 *
 * Invariants:
 * - A change is sent once. The SDK repeats nothing; a change whose outcome is not known is `indeterminate`, and whoever
 *   asked for it opens again. Reads are repeated a few times (azure-requests.ts).
 * - Requests are paced to what Azure allows (paced-store.ts); an emulator's are not.
 * - Conditions are Azure's own, judged where the change is applied; nothing is remembered here but the sizes of page
 *   blobs, for the limits that the emulator does not keep.
 * - No message, cause or description holds a key or a signature.
 */
import type { Clock } from "../clock.ts";
import { isKind, VaultError } from "../errors.ts";
import { noTelemetry, type Telemetry } from "../telemetry.ts";
import { controlOperations } from "./azure-control.ts";
import type { AzureContext } from "./azure-operations.ts";
import { blockOperations, commonOperations, createKnownBlobs, pageOperations } from "./azure-operations.ts";
import type { AzureLimits } from "./azure-requests.ts";
import { createAzureRequests } from "./azure-requests.ts";
import type { AzureTarget } from "./azure-target.ts";
import { connectContainer } from "./azure-target.ts";
import type { BlobStore } from "./blob-store.ts";
import { createRepeats, createRequestObserver } from "./observe-requests.ts";
import { createPacedStore } from "./paced-store.ts";
import type { PaceLimits } from "./pacer.ts";
import { azurePace, noPace } from "./pacer.ts";

/** The limits of a store on Azure. */
export interface AzureStoreSettings extends AzureLimits, PaceLimits {
  /** How many connections are kept for segments and metadata; requests beyond that wait. */
  readonly socketsMax: number;
  /** How many blobs' clients and sizes are remembered. */
  readonly knownBlobsMax: number;
  /** Whether a container that is missing is made. */
  readonly createContainer: boolean;
}

/** The limits where none are given. */
export const azureStoreDefaults: AzureStoreSettings = {
  ...azurePace,
  requestTimeoutMs: 30_000,
  leaseTimeoutMs: 5_000,
  readAttemptsMax: 3,
  readRetryDelayMs: 200,
  socketsMax: 64,
  knownBlobsMax: 4_096,
  createContainer: false,
};

/**
 * Opens a container, which is made if it is missing and the credentials allow that. Throws `invalid` for an account with
 * hierarchical namespace, which has no page blobs, and `denied`, `unauthenticated`, `unavailable`, `notFound`.
 */
export async function openAzureStore(
  target: AzureTarget,
  clock: Clock,
  settings: Partial<AzureStoreSettings> = {},
  telemetry: Telemetry = noTelemetry,
): Promise<BlobStore> {
  const limits = { ...azureStoreDefaults, ...settings };
  const container = await connectContainer(target, limits.socketsMax);
  const repeats = createRepeats();
  const requests = createAzureRequests(clock, limits, createRequestObserver(clock, telemetry, repeats));
  const blobs = createKnownBlobs(container, limits.knownBlobsMax);
  const context = { container, requests, blobs };
  try {
    await refuseHierarchicalNamespace(context);
    await ensureContainer(context, limits.createContainer);
  } catch (error) {
    container.close();
    throw error;
  }
  const store: BlobStore = {
    description: `azure:${container.url}`,
    ...pageOperations(context),
    ...blockOperations(context),
    ...commonOperations(context),
    ...controlOperations(context),
    async close() {
      container.close();
    },
  };
  return createPacedStore(store, clock, { ...limits, ...(container.emulated ? noPace : {}) }, repeats);
}

async function refuseHierarchicalNamespace({ container, requests }: AzureContext): Promise<void> {
  const subject = subjectOf(container.data);
  try {
    const account = await requests.probe("accountInfo", subject, (abortSignal) =>
      container.data.getAccountInfo({ abortSignal }),
    );
    if (account.isHierarchicalNamespaceEnabled !== true) return;
  } catch (error) {
    // Not every SAS or role may ask. Such an account then refuses the first page blob.
    if (isKind(error, "denied", "invalid", "notFound")) return;
    throw error;
  }
  const message = `${container.url}: the account has a hierarchical namespace, and so no page blobs: use an account without`;
  throw new VaultError("invalid", message);
}

async function ensureContainer({ container, requests }: AzureContext, create: boolean): Promise<void> {
  const subject = subjectOf(container.data);
  try {
    if (create) {
      await requests.control("createContainer", subject, (abortSignal) =>
        container.data.createIfNotExists({ abortSignal }),
      );
      return;
    }
  } catch (error) {
    // A SAS of a container may not make one.
    if (!isKind(error, "denied", "unauthenticated", "indeterminate")) throw error;
  }
  // Whether it is there and may be listed shows at once.
  try {
    await requests.read("list", subject, (abortSignal) =>
      container.data.listBlobsFlat({ abortSignal }).byPage({ maxPageSize: 1 }).next(),
    );
  } catch (error) {
    if (!isKind(error, "notFound")) throw error;
    const message = `there is no ${subject} in ${container.data.accountName}: check its name, or make it first`;
    throw new VaultError("notFound", message, error.detail, error);
  }
}

/** What messages call the container: they speak of blobs. */
function subjectOf(client: { containerName: string }): string {
  return `container ${client.containerName}`;
}
