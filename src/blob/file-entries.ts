/**
 * What a file store knows of each blob, and the queue that puts a blob's changes in one order.
 *
 * Invariants:
 * - There is at most one entry a name, and while a change of it waits or runs it is not let go of.
 * - Changes of one blob run one at a time, in the order in which they were asked for.
 * - An entry with a lease is never let go of. Any other may be, beyond the limit; its blob then has a new version.
 */
import type { Etag } from "./blob-store.ts";
import type { Header } from "./file-header.ts";
import type { Lease } from "./lease.ts";

/** A range of a file, in bytes from its beginning. */
export interface FileRange {
  readonly from: number;
  readonly to: number;
}

/** A blob that is there. */
export interface FileBlob {
  /** What the header page says; undefined for block blobs. */
  header: Header | undefined;
  sizeBytes: number;
  etag: Etag;
  lease: Lease | undefined;
  /** What a failed write or sync has touched: the cache may show there what the disk does not hold. */
  suspect: FileRange | undefined;
}

/** A name, and the blob of that name as far as it is known. */
export interface Entry {
  readonly name: string;
  readonly path: string;
  /** Undefined where it is not known whether there is one. */
  blob: FileBlob | undefined;
  /** How many changes wait or run. */
  pending: number;
}

/** The entries of one store. */
export interface Entries {
  /** The entry of a name. Do not await between this and what is done with it. */
  get(name: string): Entry;
  /** Runs `run` after the changes of the same blob that were asked for before. */
  change<T>(name: string, run: (entry: Entry) => Promise<T>): Promise<T>;
  /** Resolves when no change waits or runs. */
  idle(): Promise<void>;
}

/** Makes an empty set that remembers up to `limit` blobs. */
export function createEntries(limit: number, pathOf: (name: string) => string): Entries {
  const entries = new Map<string, Entry>();
  const tails = new Map<string, Promise<unknown>>();

  function get(name: string): Entry {
    const entry = entries.get(name) ?? { name, path: pathOf(name), blob: undefined, pending: 0 };
    entries.delete(name);
    entries.set(name, entry);
    if (entries.size > limit) evict(entry);
    return entry;
  }

  function evict(wanted: Entry): void {
    for (const [name, entry] of entries) {
      if (entries.size <= limit) return;
      const idle = entry.pending === 0 && entry.blob?.lease === undefined && entry.blob?.suspect === undefined;
      if (idle && entry !== wanted) entries.delete(name);
    }
  }

  async function change<T>(name: string, run: (entry: Entry) => Promise<T>): Promise<T> {
    const entry = get(name);
    const previous = tails.get(name);
    entry.pending += 1;
    const result = previous === undefined ? run(entry) : previous.then(() => run(entry));
    const tail = result.catch(() => {});
    tails.set(name, tail);
    try {
      return await result;
    } finally {
      entry.pending -= 1;
      if (tails.get(name) === tail) tails.delete(name);
      if (entry.pending === 0 && entry.blob === undefined) entries.delete(name);
    }
  }

  return {
    get,
    change,
    async idle() {
      while (tails.size > 0) await Promise.all(tails.values());
    },
  };
}
