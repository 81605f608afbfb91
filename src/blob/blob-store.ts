/**
 * The port to storage: page blobs for segments, small block blobs for metadata, and one leased control blob.
 *
 * Implementations: `azure.ts`, `file.ts`, `memory.ts`. `contract.ts` says, as a suite that runs on any of them, what
 * they have in common. Every rejection is a VaultError, of these kinds:
 *
 * - `notFound`: the blob (or the container) does not exist.
 * - `alreadyExists`: a blob of that name exists already.
 * - `conflict`: a condition does not hold and nothing was changed; `detail.condition` is `etag`, `sequenceNumber` or
 *   `lease`.
 * - `fenced`: the fence given is not held any more; nothing was sent.
 * - `invalid`: an argument breaks a limit named below; nothing was sent.
 * - `overloaded`: storage throttles (503); nothing was changed.
 * - `unavailable`: the request was not carried out (for a read: it failed and may be tried again).
 * - `indeterminate`: a change that may have been carried out, or may still be carried out later: time-out, reset, 5xx.
 * - `denied`, `unauthenticated`: the credentials do not allow it.
 */

/** The unit of page blobs: positions and lengths of writes are multiples of it. [Azure: 512 bytes; the vault: 4 KiB] */
export const pageBytes = 4096;

/** The most that one write may carry: Azure's limit for Put Page. */
export const writeBytesMax = 4 * 1024 * 1024;

/** The largest page blob that may be made: Azure's limit is 8 TiB. */
export const blobBytesMax = 8 * 1024 ** 4;

/** A version of a blob; changes with every change of it, but for lease operations. Opaque. */
export type Etag = string;

/** The most that one put of a block blob may carry. */
export const putBytesMax = 64 * 1024 * 1024;

/** The most blobs that one page of a listing may hold: Azure's limit for List Blobs. */
export const listLimitMax = 5000;

/** The longest name of a blob: Azure's limit. */
export const nameLengthMax = 1024;

/** The longest part of a name between two slashes: what every file system can hold, with its case encoded. */
export const nameComponentLengthMax = 160;

/** The most that metadata may hold, names and values together (Azure allows 8 KiB). */
export const metadataBytesMax = 768;

/** The most names that metadata may have. */
export const metadataCountMax = 16;

/**
 * Who writes. Each write of a segment takes one: the write carries `epoch` as the sequence number that the blob must
 * have, so that a stale leader's write fails however late it arrives.
 */
export interface Fence {
  /** The leader's number: at least 1, grows with each change of leader. */
  readonly epoch: number;
  /**
   * The last time of storage's clock at which this leader held the lease for certain, in milliseconds since 1970. No
   * record is given an earlier timestamp, by it or by a later leader. Undefined where there is no lease.
   */
  readonly provenAt?: number | undefined;
  /** Throws a VaultError of kind `fenced` if leadership is known to have ended. Called before each write is sent. */
  assertHeld(): void;
}

/** What is known of a blob. */
export interface BlobProperties {
  readonly etag: Etag;
  readonly sizeBytes: number;
  /** The page blob's sequence number; 0 for block blobs. */
  readonly sequenceNumber: number;
  /** Names are a lower-case letter, then such letters and digits; values printable ASCII, not empty. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Whether somebody holds a lease that has not run out. */
  readonly leased: boolean;
  /** Storage's own time when it answered, in milliseconds since 1970 (a whole second on Azure). */
  readonly date: number;
}

/** Bytes with the version that they were read from. */
export interface BlobBytes {
  readonly bytes: Buffer;
  readonly etag: Etag;
}

/** A blob in a listing. */
export interface BlobEntry {
  readonly name: string;
  readonly sizeBytes: number;
  /** When it was changed last, by storage's own clock and as exactly as that tells: for guesses only. */
  readonly changedAt?: number | undefined;
}

/** A page of a listing. */
export interface ListPage<T> {
  /** In byte order of the names. May be empty though there is a next page. */
  readonly items: readonly T[];
  /** What to ask for next; undefined at the end. */
  readonly next: string | undefined;
  /** Storage's own time when it answered, in milliseconds since 1970. */
  readonly date: number;
}

/** What a put of a block blob depends on: the version that it replaces, or that there is none. */
export type PutCondition = { readonly ifMatch: Etag } | { readonly ifNoneMatch: "*" } | "always";

/** A container of blobs, to read. Names are paths of ASCII letters, digits, `.`, `_`, `-` and `/`. Case counts. */
export interface BlobReader {
  /** What this is, for messages: never holds a secret. */
  readonly description: string;

  /**
   * Reads a range of a blob of either kind; fewer bytes (or none) where the blob ends before it does. One version or
   * several: see docs/format.md. Where a change was under way, `etag` may be one that no other answer has. The bytes are
   * the caller's own, to keep or to free.
   */
  read(name: string, position: number, lengthBytes: number): Promise<BlobBytes>;
  /**
   * Where what was written in a range of a page blob ends, at the latest where the range does; the range's start
   * where none was. What follows in the range is zeros. Absent where reading zeros costs nothing.
   */
  writtenEnd?(name: string, position: number, lengthBytes: number): Promise<number>;
  /** A block blob as a whole; undefined if there is none. */
  get(name: string): Promise<BlobBytes | undefined>;
  /** What is known of a blob of either kind; undefined if there is none. */
  properties(name: string): Promise<BlobProperties | undefined>;
  /** The blobs whose names begin with `prefix`. `limit`: 1 to `listLimitMax`. */
  list(prefix: string, limit: number, from?: string): Promise<ListPage<BlobEntry>>;
  /**
   * What stands between `prefix` and the next `/` in names that begin with `prefix`: whole names, `prefix` included,
   * the `/` not. In byte order of the names with that `/` (so `a-b` is before `a`), as Azure lists them.
   */
  listFolders(prefix: string, limit: number, from?: string): Promise<ListPage<string>>;

  /** Closes connections and files; for when nothing is under way. Nothing but `close` may be called after it. */
  close(): Promise<void>;
}

/** A container of blobs that may be changed. */
export interface BlobStore extends BlobReader {
  /**
   * Resolves when storage is ready for a change of a blob: what is asked for then is not held back. Absent where
   * nothing is held back. For whoever can put more into a change meanwhile.
   */
  turn?(name: string): Promise<void>;

  /** Creates a page blob full of zeros with the fence's epoch as its sequence number. `alreadyExists`. */
  createPages(name: string, sizeBytes: number, fence: Fence): Promise<Etag>;
  /**
   * Overwrites whole pages, if the blob still has the version `ifMatch` and the fence's epoch as its sequence number.
   * Durable when it resolves. `position` and the length of `bytes` are multiples of `pageBytes`, the length is at
   * least one page and at most `writeBytesMax`, and the range ends within the blob; else `invalid`. The caller leaves
   * `bytes` unchanged until the promise settles.
   */
  writePages(name: string, position: number, bytes: Uint8Array, ifMatch: Etag, fence: Fence): Promise<Etag>;
  /** Zeros whole pages, under the same conditions. Any length within the blob. */
  clearPages(name: string, position: number, lengthBytes: number, ifMatch: Etag, fence: Fence): Promise<Etag>;
  /**
   * Raises the sequence number to the fence's epoch, if the blob has the version `ifMatch`. The version changes even
   * when the number was the epoch already. Where the number is above the epoch it stays, and so the answer tells.
   */
  raiseFence(name: string, ifMatch: Etag, fence: Fence): Promise<{ etag: Etag; sequenceNumber: number }>;

  /**
   * Replaces a block blob as a whole, or makes one. `conflict` (etag; also where `ifMatch` meets no blob),
   * `alreadyExists` under `ifNoneMatch`. At most `putBytesMax`.
   */
  put(name: string, bytes: Uint8Array, condition: PutCondition): Promise<Etag>;
  /** Deletes a blob of either kind; false if there was none. With `ifMatch` only that version: else `conflict`. */
  remove(name: string, ifMatch?: Etag): Promise<boolean>;

  /** Creates the control blob: a page blob of one page with metadata. `alreadyExists`. */
  createControl(name: string, metadata: Readonly<Record<string, string>>): Promise<Etag>;
  /** Replaces the control blob's metadata, without a lease id where `leaseId` is absent. `conflict` (etag or lease). */
  setMetadata(name: string, metadata: Readonly<Record<string, string>>, ifMatch: Etag, leaseId?: string): Promise<Etag>;
  /**
   * Takes the lease for `seconds` (15 to 60) under an id of 32 lower-case hexadecimal digits; again under the same id
   * it begins anew. Tells storage's own time when it answered, in milliseconds since 1970 (a whole second on Azure).
   * `conflict` (lease).
   */
  acquireLease(name: string, leaseId: string, seconds: number): Promise<{ date: number }>;
  /**
   * Renews the lease, one that ran out too, unless the blob was leased or changed since; tells the blob's version, and
   * storage's own time as `acquireLease` does. `conflict` (lease).
   */
  renewLease(name: string, leaseId: string): Promise<{ date: number; etag: Etag }>;
  /** Gives the lease back. `conflict` (lease). */
  releaseLease(name: string, leaseId: string): Promise<void>;
  /** Ends whoever's lease it is at once, if the blob has the version `ifMatch`. `conflict` (etag, or lease: none). */
  breakLease(name: string, ifMatch: Etag): Promise<void>;
}
