/** What a store on Azure does for each operation of the port. The invariants stand in azure.ts. */
import type { PageBlobClient } from "@azure/storage-blob";
import { isKind, VaultError } from "../errors.ts";
import { freeMemory } from "../free-memory.ts";
import { isBlobMissing, isRangeBeyondEnd } from "./azure-errors.ts";
import type { AzureRequests } from "./azure-requests.ts";
import type { AzureContainer } from "./azure-target.ts";
import { blobExists, blobNotFound, etagConflict } from "./blob-errors.ts";
import { pageBytes } from "./blob-store.ts";
import type { BlobBytes, BlobProperties, BlobStore, Etag, Fence, PutCondition } from "./blob-store.ts";
import * as check from "./check-arguments.ts";

/** What the operations work with. */
export interface AzureContext {
  readonly container: AzureContainer;
  readonly requests: AzureRequests;
  readonly blobs: KnownBlobs;
}

/** A blob that was used lately. */
export interface KnownBlob {
  readonly client: PageBlobClient;
  sizeBytes: number | undefined;
}

/** The blobs that were used lately. */
export interface KnownBlobs {
  get(name: string): KnownBlob;
}

/** Clients and sizes of the blobs used last: making a client costs as much as a tenth of a request. */
export function createKnownBlobs(container: AzureContainer, limit: number): KnownBlobs {
  const known = new Map<string, KnownBlob>();
  return {
    get(name) {
      const blob = known.get(name) ?? { client: container.data.getPageBlobClient(name), sizeBytes: undefined };
      known.delete(name);
      known.set(name, blob);
      if (known.size > limit) {
        for (const oldest of known.keys()) {
          known.delete(oldest);
          break;
        }
      }
      return blob;
    },
  };
}

/** Checks that a range lies within a blob; asks for its size where it is not known, or may have changed. */
async function checkWithin(context: AzureContext, name: string, position: number, lengthBytes: number): Promise<void> {
  const blob = context.blobs.get(name);
  if (blob.sizeBytes === undefined || position + lengthBytes > blob.sizeBytes) {
    const found = await readProperties(context, name);
    if (found === undefined) throw blobNotFound(name);
    blob.sizeBytes = found.sizeBytes;
  }
  check.checkWithin(name, position, lengthBytes, blob.sizeBytes);
}

/** The version that an answer tells; without one the outcome cannot be built upon. */
export function etagOf(name: string, etag: string | undefined): Etag {
  if (etag === undefined) throw new VaultError("indeterminate", `storage's answer for blob ${name} has no version`);
  return etag;
}

/** Storage's time that an answer tells, in milliseconds since 1970. */
export function dateOf(date: Date | undefined): number {
  if (date === undefined) throw new VaultError("unavailable", "storage's answer has no date");
  return date.getTime();
}

type PageOperations = Pick<
  BlobStore,
  "createPages" | "writePages" | "clearPages" | "raiseFence" | "read" | "writtenEnd"
>;

/** The operations on page blobs of a store on Azure. */
export function pageOperations(context: AzureContext): PageOperations {
  const { requests, blobs } = context;
  return {
    async createPages(name: string, sizeBytes: number, fence: Fence) {
      check.checkName(name);
      check.checkPageBlobSize(name, sizeBytes);
      check.checkEpoch(name, fence);
      fence.assertHeld();
      return createPageBlob(context, "createPages", name, sizeBytes, { blobSequenceNumber: fence.epoch });
    },

    async writePages(name: string, position: number, bytes: Uint8Array, ifMatch: Etag, fence: Fence) {
      check.checkName(name);
      check.checkWrite(name, position, bytes.length);
      check.checkEpoch(name, fence);
      await checkWithin(context, name, position, bytes.length);
      fence.assertHeld();
      const conditions = { ifMatch, ifSequenceNumberEqualTo: fence.epoch };
      const body = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      const write = requests.change(
        "writePages",
        name,
        (abortSignal) => blobs.get(name).client.uploadPages(body, position, body.length, { conditions, abortSignal }),
        fence.epoch,
      );
      const answer = await underVersion(context, name, write);
      return etagOf(name, answer.etag);
    },

    async clearPages(name: string, position: number, lengthBytes: number, ifMatch: Etag, fence: Fence) {
      check.checkName(name);
      check.checkPageRange(name, position, lengthBytes);
      check.checkEpoch(name, fence);
      await checkWithin(context, name, position, lengthBytes);
      fence.assertHeld();
      const conditions = { ifMatch, ifSequenceNumberEqualTo: fence.epoch };
      const clear = requests.change(
        "clearPages",
        name,
        (abortSignal) => blobs.get(name).client.clearPages(position, lengthBytes, { conditions, abortSignal }),
        fence.epoch,
      );
      const answer = await underVersion(context, name, clear);
      return etagOf(name, answer.etag);
    },

    async raiseFence(name: string, ifMatch: Etag, fence: Fence) {
      check.checkName(name);
      check.checkEpoch(name, fence);
      fence.assertHeld();
      const { client } = blobs.get(name);
      const raise = requests.change(
        "raiseFence",
        name,
        (abortSignal) => client.updateSequenceNumber("max", fence.epoch, { conditions: { ifMatch }, abortSignal }),
        fence.epoch,
      );
      const answer = await underVersion(context, name, raise);
      return { etag: etagOf(name, answer.etag), sequenceNumber: answer.blobSequenceNumber ?? fence.epoch };
    },

    async read(name: string, position: number, lengthBytes: number) {
      check.checkName(name);
      check.checkRead(name, position, lengthBytes);
      if (lengthBytes > 0) {
        const read = await download(context, "read", name, position, lengthBytes);
        if (read === undefined) throw blobNotFound(name);
        if (read !== "beyond") return read;
      }
      const found = await readProperties(context, name);
      if (found === undefined) throw blobNotFound(name);
      return { bytes: Buffer.alloc(0), etag: found.etag };
    },

    async writtenEnd(name: string, position: number, lengthBytes: number) {
      check.checkName(name);
      check.checkRead(name, position, lengthBytes);
      const { client } = blobs.get(name);
      const start = position - (position % pageBytes);
      const { pageRange = [] } = await requests.read("writtenEnd", name, (abortSignal) =>
        client.getPageRanges(start, position + lengthBytes - start, { abortSignal }),
      );
      // The SDK's counts are one short.
      const written = pageRange.map(({ offset, count = 0 }) => offset + count + 1);
      return Math.max(position, ...written);
    },
  };
}

/**
 * The outcome of a change under a version. Where the version is refused it is looked whether there is a blob at all, as
 * an emulator (and perhaps Azure) names the version first.
 */
export async function underVersion<T>(context: AzureContext, name: string, outcome: Promise<T>): Promise<T> {
  try {
    return await outcome;
  } catch (error) {
    const refused = isKind(error, "conflict") && error.detail.condition === "etag";
    if (refused && (await readProperties(context, name).catch(() => true)) === undefined) {
      throw blobNotFound(name, error.cause);
    }
    throw error;
  }
}

type CreateOptions = { blobSequenceNumber?: number; metadata?: Record<string, string> };

/** Creates a page blob where there is no blob. */
export async function createPageBlob(
  context: AzureContext,
  operation: "createPages" | "createControl",
  name: string,
  sizeBytes: number,
  options: CreateOptions,
): Promise<Etag> {
  const blob = context.blobs.get(name);
  const conditions = { ifNoneMatch: "*" };
  try {
    const answer = await context.requests.change(operation, name, (abortSignal) =>
      blob.client.create(sizeBytes, { ...options, conditions, abortSignal }),
    );
    blob.sizeBytes = sizeBytes;
    return etagOf(name, answer.etag);
  } catch (error) {
    // Azure names the lease first where the blob that is there has one.
    throw isKind(error, "conflict") ? blobExists(name, error.cause) : error;
  }
}

async function download(
  context: AzureContext,
  operation: "read" | "get",
  name: string,
  position: number,
  lengthBytes: number | undefined,
): Promise<BlobBytes | "beyond" | undefined> {
  const { client } = context.blobs.get(name);
  return context.requests.read(operation, name, async (abortSignal) => {
    try {
      // The SDK would go on under the first answer's version, and so fail on a blob that is being written.
      const answer = await client.download(position, lengthBytes, { maxRetryRequests: 0, abortSignal });
      const bytes = await gather(answer.readableStreamBody, answer.contentLength ?? 0);
      return { bytes, etag: etagOf(name, answer.etag) };
    } catch (error) {
      if (isRangeBeyondEnd(error)) return "beyond";
      if (isBlobMissing(error)) return undefined;
      throw error;
    }
  });
}

/** Puts a body together in memory of its own. */
async function gather(body: NodeJS.ReadableStream | undefined, lengthBytes: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafeSlow(lengthBytes);
  let count = 0;
  for await (const piece of (body ?? []) as AsyncIterable<Buffer>) {
    if (count + piece.length > bytes.length) throw new Error("the body is longer than its header said");
    bytes.set(piece, count);
    count += piece.length;
    // A body comes in hundreds of pieces, which the HTTP parser has made for us alone.
    freeMemory(piece);
  }
  if (count < bytes.length) throw new Error("the body ended early");
  return bytes;
}

/** The operations on block blobs of a store on Azure. */
export function blockOperations(context: AzureContext): Pick<BlobStore, "put" | "get"> {
  const { container, requests } = context;
  return {
    async put(name: string, bytes: Uint8Array, condition: PutCondition) {
      check.checkName(name);
      check.checkPut(name, bytes.length);
      const conditions = condition === "always" ? {} : condition;
      const body = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      const client = container.data.getBlockBlobClient(name);
      try {
        const answer = await requests.change("put", name, (abortSignal) =>
          client.upload(body, body.length, { conditions, abortSignal }),
        );
        return etagOf(name, answer.etag);
      } catch (error) {
        if ("ifNoneMatch" in conditions && isKind(error, "conflict")) throw blobExists(name, error.cause);
        const blobMissing = isKind(error, "notFound") && error.detail.resource === name;
        if ("ifMatch" in conditions && blobMissing) throw etagConflict(name, error.cause);
        throw error;
      }
    },

    async get(name: string) {
      check.checkName(name);
      const found = await download(context, "get", name, 0, undefined);
      return found === "beyond" ? undefined : found;
    },
  };
}

/** The operations on blobs of either kind of a store on Azure. */
export function commonOperations(
  context: AzureContext,
): Pick<BlobStore, "properties" | "remove" | "list" | "listFolders"> {
  const { container, requests, blobs } = context;
  return {
    properties: (name: string) => readProperties(context, name),

    async remove(name: string, ifMatch?: Etag) {
      check.checkName(name);
      const conditions = ifMatch === undefined ? {} : { ifMatch };
      blobs.get(name).sizeBytes = undefined;
      const removal = requests.change("remove", name, (abortSignal) =>
        blobs.get(name).client.delete({ conditions, abortSignal }),
      );
      try {
        await underVersion(context, name, removal);
        return true;
      } catch (error) {
        if (isKind(error, "notFound") && error.detail.resource === name) return false;
        throw error;
      }
    },

    async list(prefix: string, limit: number, from?: string) {
      check.checkListing(prefix, limit);
      const page = await requests.read("list", `${prefix}*`, async (abortSignal) => {
        return firstPage(container.data.listBlobsFlat({ prefix, abortSignal }).byPage(pageOf(limit, from)));
      });
      const items = [];
      for (const { name, properties } of page.segment.blobItems) {
        const changedAt = properties.lastModified.getTime();
        items.push({ name, sizeBytes: properties.contentLength ?? 0, changedAt });
      }
      return { items, next: markerOf(page.continuationToken), date: dateOf(page.date) };
    },

    async listFolders(prefix: string, limit: number, from?: string) {
      check.checkListing(prefix, limit);
      const page = await requests.read("listFolders", `${prefix}*`, async (abortSignal) => {
        const folders = container.data.listBlobsByHierarchy("/", { prefix, abortSignal });
        return firstPage(folders.byPage(pageOf(limit, from)));
      });
      const items = (page.segment.blobPrefixes ?? []).map(({ name }) => name.slice(0, -1));
      return { items, next: markerOf(page.continuationToken), date: dateOf(page.date) };
    },
  };
}

function pageOf(limit: number, from: string | undefined) {
  return from === undefined ? { maxPageSize: limit } : { maxPageSize: limit, continuationToken: from };
}

async function firstPage<T>(pages: AsyncIterable<T>): Promise<T> {
  for await (const page of pages) return page;
  throw new VaultError("unavailable", "storage answered a listing with nothing");
}

function markerOf(token: string | undefined): string | undefined {
  return token === "" ? undefined : token;
}

/** What is known of a blob; undefined if there is none. */
async function readProperties(context: AzureContext, name: string): Promise<BlobProperties | undefined> {
  check.checkName(name);
  const blob = context.blobs.get(name);
  const found = await context.requests.probe("properties", name, async (abortSignal) => {
    try {
      return await context.container.probes.getBlobClient(name).getProperties({ abortSignal });
    } catch (error) {
      if (isBlobMissing(error)) return undefined;
      throw error;
    }
  });
  blob.sizeBytes = found?.contentLength;
  if (found === undefined) return undefined;
  return {
    etag: etagOf(name, found.etag),
    sizeBytes: found.contentLength ?? 0,
    sequenceNumber: found.blobSequenceNumber ?? 0,
    metadata: found.metadata ?? {},
    leased: found.leaseStatus === "locked",
    date: dateOf(found.date),
  };
}
