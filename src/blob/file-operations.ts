/**
 * What a file store does for each operation of the port: arguments, conditions, then the files. The invariants stand in
 * file.ts.
 */
import type { Clock } from "../clock.ts";
import { blobExists, blobNotFound, etagConflict, invalidArgument, sequenceConflict } from "./blob-errors.ts";
import type { BlobEntry, BlobProperties, BlobStore, Etag, Fence, ListPage, PutCondition } from "./blob-store.ts";
import * as check from "./check-arguments.ts";
import type { FileBlobs } from "./file-blobs.ts";
import { writeAll, writeZeros } from "./file-blobs.ts";
import type { Directories } from "./file-directories.ts";
import type { Entries, Entry, FileBlob } from "./file-entries.ts";
import { fileNotRead } from "./file-errors.ts";
import type { Header } from "./file-header.ts";
import { decodeHeaderPage, encodeHeaderPage, headerBytes } from "./file-header.ts";
import * as leases from "./lease.ts";

/** What the operations of an open store work with. */
export interface FileContext {
  readonly clock: Clock;
  readonly directories: Directories;
  readonly entries: Entries;
  readonly files: FileBlobs;
  readonly nextEtag: () => Etag;
}

type PageOperations = Pick<BlobStore, "createPages" | "writePages" | "clearPages" | "raiseFence" | "read">;

/** The operations on page blobs of a file store. */
export function pageOperations(context: FileContext): PageOperations {
  const { entries, files, nextEtag } = context;
  return {
    async createPages(name: string, sizeBytes: number, fence: Fence) {
      check.checkName(name);
      check.checkPageBlobSize(name, sizeBytes);
      check.checkEpoch(name, fence);
      const header: Header = { generation: 1, sizeBytes, sequenceNumber: fence.epoch, metadata: {} };
      return entries.change(name, (entry) => createFile(context, entry, header, fence));
    },

    async writePages(name: string, position: number, bytes: Uint8Array, ifMatch: Etag, fence: Fence) {
      check.checkName(name);
      check.checkWrite(name, position, bytes.length);
      check.checkEpoch(name, fence);
      return entries.change(name, async (entry) => {
        const blob = await loadPages(context, entry);
        check.checkWithin(name, position, bytes.length, blob.sizeBytes);
        checkConditions(context, name, blob, ifMatch, fence.epoch);
        fence.assertHeld();
        const from = headerBytes + position;
        await files.change(entry, blob, { from, to: from + bytes.length }, (file) => writeAll(file, from, bytes));
        return changed(context, blob);
      });
    },

    async clearPages(name: string, position: number, lengthBytes: number, ifMatch: Etag, fence: Fence) {
      check.checkName(name);
      check.checkPageRange(name, position, lengthBytes);
      check.checkEpoch(name, fence);
      return entries.change(name, async (entry) => {
        const blob = await loadPages(context, entry);
        check.checkWithin(name, position, lengthBytes, blob.sizeBytes);
        checkConditions(context, name, blob, ifMatch, fence.epoch);
        fence.assertHeld();
        const from = headerBytes + position;
        const end = headerBytes + blob.sizeBytes;
        await files.change(entry, blob, { from, to: from + lengthBytes }, async (file) => {
          if (from + lengthBytes < end) return writeZeros(file, from, lengthBytes);
          await file.truncate(from);
          await file.truncate(end);
        });
        return changed(context, blob);
      });
    },

    async raiseFence(name: string, ifMatch: Etag, fence: Fence) {
      check.checkName(name);
      check.checkEpoch(name, fence);
      return entries.change(name, async (entry) => {
        const blob = await loadPages(context, entry);
        checkConditions(context, name, blob, ifMatch);
        fence.assertHeld();
        const { header } = blob;
        if (fence.epoch > header.sequenceNumber) {
          const raised = { ...header, generation: header.generation + 1, sequenceNumber: fence.epoch };
          await files.changeHeader(entry, blob, raised);
        }
        return { etag: changed(context, blob), sequenceNumber: blob.header.sequenceNumber };
      });
    },

    async read(name: string, position: number, lengthBytes: number) {
      check.checkName(name);
      check.checkRead(name, position, lengthBytes);
      const entry = entries.get(name);
      const { blob } = entry;
      if (blob?.header === undefined || blob.suspect !== undefined) {
        return entries.change(name, (queued) => readQueued(context, queued, position, lengthBytes));
      }
      const { etag, sizeBytes } = blob;
      const overlapped = entry.pending > 0;
      const length = Math.max(0, Math.min(lengthBytes, sizeBytes - position));
      const bytes = await files.read(entry, position, length);
      const alone = !overlapped && entry.pending === 0 && entry.blob === blob && blob.etag === etag;
      return { bytes, etag: alone ? etag : nextEtag() };
    },
  };
}

/** The operations on block blobs of a file store. */
export function blockOperations(context: FileContext): Pick<BlobStore, "put" | "get"> {
  const { entries, files, nextEtag } = context;
  return {
    async put(name: string, bytes: Uint8Array, condition: PutCondition) {
      check.checkName(name);
      check.checkPut(name, bytes.length);
      if (decodeHeaderPage(bytes.subarray(0, headerBytes)) !== undefined) {
        throw invalidArgument(name, "a block blob does not begin as a page blob's file does");
      }
      return entries.change(name, async (entry) => {
        const blob = await files.load(entry);
        if (blob === undefined) {
          if (condition !== "always" && "ifMatch" in condition) throw etagConflict(name);
        } else {
          if (condition !== "always" && "ifNoneMatch" in condition) throw blobExists(name);
          if (blob.header !== undefined) throw invalidArgument(name, "it is not a block blob");
          checkConditions(context, name, blob, condition === "always" ? undefined : condition.ifMatch);
        }
        await files.place(entry, bytes, bytes.length);
        const etag = nextEtag();
        const lease = leases.afterChange(blob?.lease, context.clock.monotonic());
        entry.blob = { header: undefined, sizeBytes: bytes.length, etag, lease, suspect: undefined };
        return etag;
      });
    },

    async get(name: string) {
      check.checkName(name);
      // In the queue, so that bytes and version belong together.
      return entries.change(name, async (entry) => {
        const blob = await files.load(entry);
        return blob === undefined ? undefined : readQueued(context, entry, 0, blob.sizeBytes);
      });
    },
  };
}

/** The operations on blobs of either kind of a file store. */
export function commonOperations(
  context: FileContext,
): Pick<BlobStore, "properties" | "remove" | "list" | "listFolders"> {
  const { entries, files, directories, clock } = context;
  return {
    async properties(name: string): Promise<BlobProperties | undefined> {
      check.checkName(name);
      const known = entries.get(name).blob;
      const usable = known !== undefined && known.suspect === undefined;
      const blob = usable ? known : await entries.change(name, (entry) => files.load(entry));
      if (blob === undefined) return undefined;
      const { etag, sizeBytes, header } = blob;
      const leased = leases.isHeld(blob.lease, clock.monotonic());
      const { sequenceNumber, metadata } = header ?? { sequenceNumber: 0, metadata: {} };
      return { etag, sizeBytes, sequenceNumber, metadata, leased, date: clock.now() };
    },

    async remove(name: string, ifMatch?: Etag) {
      check.checkName(name);
      return entries.change(name, async (entry) => {
        const blob = await files.load(entry);
        if (blob === undefined) return false;
        checkConditions(context, name, blob, ifMatch);
        await files.remove(entry);
        return true;
      });
    },

    async list(prefix: string, limit: number, from?: string): Promise<ListPage<BlobEntry>> {
      check.checkListing(prefix, limit);
      const items: BlobEntry[] = [];
      for await (const found of withReadErrors(prefix, directories.walk(prefix, from ?? ""))) {
        if (items.length === limit) return { items, next: found.name, date: clock.now() };
        const probed = await files.probe(found.path).catch((error: unknown) => {
          throw fileNotRead(found.name, error);
        });
        if (probed !== undefined) items.push({ name: found.name, ...probed });
      }
      return { items, next: undefined, date: clock.now() };
    },

    async listFolders(prefix: string, limit: number, from?: string): Promise<ListPage<string>> {
      check.checkListing(prefix, limit);
      const items: string[] = [];
      for await (const folder of withReadErrors(prefix, directories.folders(prefix, from ?? ""))) {
        if (items.length === limit) return { items, next: `${folder}/`, date: clock.now() };
        items.push(folder);
      }
      return { items, next: undefined, date: clock.now() };
    },
  };
}

/** Makes the file of a new page blob. Within the entry's queue only. */
export async function createFile(context: FileContext, entry: Entry, header: Header, fence?: Fence): Promise<Etag> {
  const { files, nextEtag } = context;
  if ((await files.load(entry)) !== undefined) throw blobExists(entry.name);
  fence?.assertHeld();
  await files.place(entry, encodeHeaderPage(header), headerBytes + header.sizeBytes);
  const etag = nextEtag();
  entry.blob = { header, sizeBytes: header.sizeBytes, etag, lease: undefined, suspect: undefined };
  return etag;
}

/** The page blob of an entry. Within the entry's queue only. Throws `notFound`, and `invalid` for a block blob. */
export async function loadPages(context: FileContext, entry: Entry): Promise<FileBlob & { header: Header }> {
  const blob = await context.files.load(entry);
  if (blob === undefined) throw blobNotFound(entry.name);
  if (blob.header === undefined) throw invalidArgument(entry.name, "it is not a page blob");
  return blob as FileBlob & { header: Header };
}

/** Throws `conflict` unless lease, version and sequence number are what they must be, where they matter. */
export function checkConditions(
  context: FileContext,
  name: string,
  blob: FileBlob,
  ifMatch: Etag | undefined,
  epoch?: number,
  leaseId?: string,
): void {
  leases.checkChange(name, blob.lease, leaseId, context.clock.monotonic());
  if (ifMatch !== undefined && blob.etag !== ifMatch) throw etagConflict(name);
  const found = blob.header?.sequenceNumber;
  if (epoch !== undefined && found !== epoch) throw sequenceConflict(name, epoch, found);
}

/** Gives a blob that was changed its new version. */
export function changed(context: FileContext, blob: FileBlob): Etag {
  blob.lease = leases.afterChange(blob.lease, context.clock.monotonic());
  blob.etag = context.nextEtag();
  return blob.etag;
}

async function readQueued(context: FileContext, entry: Entry, position: number, lengthBytes: number) {
  const { files } = context;
  const blob = await files.load(entry);
  if (blob === undefined) throw blobNotFound(entry.name);
  const length = Math.max(0, Math.min(lengthBytes, blob.sizeBytes - position));
  if (blob.header !== undefined) return { bytes: await files.read(entry, position, length), etag: blob.etag };
  const whole = await files.readWhole(entry, blob);
  return { bytes: whole.subarray(position, position + length), etag: blob.etag };
}

async function* withReadErrors<T>(name: string, source: AsyncIterable<T>): AsyncIterable<T> {
  try {
    yield* source;
  } catch (error) {
    throw fileNotRead(name, error);
  }
}
