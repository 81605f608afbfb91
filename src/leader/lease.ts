import type { BlobStore, Etag } from "../blob/blob-store.ts";
import type { Clock } from "../clock.ts";
import { isKind } from "../errors.ts";
import { leastSkewMs } from "./skew.ts";

/**
 * A lease on a blob, under one id, taken at most once.
 *
 * Invariants: a lease that was held and is not any more is never held again. And it is counted as held only until its length
 * after the moment before the last request that renewed it was sent. Storage begins to count when the request arrives,
 * which is later: so on clocks that run at one speed we stop before anyone else can begin. A clock that stands still
 * while the machine sleeps breaks that, which is why nothing but speed depends on the lease: the fence on each segment
 * is what keeps a stale leader from writing.
 */
export interface Lease {
  /** 32 hexadecimal digits. */
  readonly id: string;
  /** The last time of storage's clock at which it was held for certain, in milliseconds since 1970; 0 before any. */
  readonly provenAt: number;
  /** How long the lease is still held, in milliseconds; 0 or less when it is not. */
  remainingMs(): number;
  /** Takes the lease. Sent again after a lost answer it does no harm. `conflict` (lease) where another holds it. */
  acquire(): Promise<void>;
  /**
   * Makes the lease last its whole length again. Resolves to how far this node's clock is ahead of storage's (behind:
   * negative), at least, in milliseconds, and the blob's version. `conflict` (lease) where it is not ours any more.
   */
  renew(): Promise<{ readonly skewMs: number; readonly etag: Etag }>;
  /** Gives the lease back; from this moment it is not held, whatever storage answers. */
  release(): Promise<void>;
}

/** Makes a lease on the blob `name` that lasts `seconds` (15 to 60, Azure's limits), not taken yet. */
export function createLease(store: BlobStore, clock: Clock, name: string, seconds: number): Lease {
  const id = clock.id();
  let endsAt = -Infinity;
  let provenAt = 0;

  return {
    id,
    get provenAt() {
      return provenAt;
    },
    remainingMs: () => endsAt - clock.monotonic(),
    async acquire() {
      const sentAt = clock.monotonic();
      const { date } = await store.acquireLease(name, id, seconds);
      provenAt = Math.max(provenAt, date);
      endsAt = sentAt + seconds * 1000;
    },
    async renew() {
      const sentAt = clock.monotonic();
      const sentTime = clock.now();
      try {
        const { date, etag } = await store.renewLease(name, id);
        provenAt = Math.max(provenAt, date);
        if (clock.monotonic() < endsAt) endsAt = sentAt + seconds * 1000;
        return { skewMs: leastSkewMs(date, sentTime, clock.now()), etag };
      } catch (error) {
        if (isKind(error, "conflict", "notFound")) endsAt = -Infinity;
        throw error;
      }
    },
    release() {
      endsAt = -Infinity;
      return store.releaseLease(name, id);
    },
  };
}
