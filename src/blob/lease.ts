/**
 * A blob's lease, as Azure keeps it (docs: "Lease Blob", outcomes of lease operations by state). Pure: the stores that
 * keep leases themselves hold one value a blob and replace it by what these functions return. Times are monotonic
 * milliseconds.
 */
import { leaseConflict } from "./blob-errors.ts";

/**
 * Undefined where a blob was never leased, was released, or was changed after its lease had ended. A lease that has
 * run out stays, as its owner may renew it; a broken one stays, as only its owner may not.
 */
export type Lease = {
  readonly id: string;
  readonly seconds: number;
  readonly endsAt: number;
  readonly broken: boolean;
};

/** Whether somebody holds the lease at `now`. */
export function isHeld(lease: Lease | undefined, now: number): lease is Lease {
  return lease !== undefined && !lease.broken && now < lease.endsAt;
}

/** The lease that acquiring makes: anew under the same id, else only where nobody holds it. */
export function acquired(name: string, lease: Lease | undefined, id: string, seconds: number, now: number): Lease {
  if (isHeld(lease, now) && lease.id !== id) throw leaseConflict(name, "is leased by somebody else");
  return { id, seconds, endsAt: now + seconds * 1000, broken: false };
}

/** The lease that renewing makes; one that ran out may be renewed while it is still the blob's last. */
export function renewed(name: string, lease: Lease | undefined, id: string, now: number): Lease {
  if (lease === undefined) throw leaseConflict(name, "is not leased any more: the lease cannot be renewed");
  if (lease.id !== id) throw leaseConflict(name, "was leased by somebody else: the lease cannot be renewed");
  if (lease.broken) throw leaseConflict(name, "had its lease broken: it cannot be renewed");
  return { ...lease, endsAt: now + lease.seconds * 1000 };
}

/** Checks that the lease may be released under this id; the blob then has none. */
export function checkRelease(name: string, lease: Lease | undefined, id: string): void {
  if (lease?.id !== id) throw leaseConflict(name, "is not leased under this id: nothing to release");
}

/** The lease that a break at once makes; one that ran out is broken too, so that its owner cannot renew it. */
export function broken(name: string, lease: Lease | undefined): Lease {
  if (lease === undefined) throw leaseConflict(name, "is not leased: nothing to break");
  return { ...lease, broken: true };
}

/** Throws `conflict` unless a change is allowed: without an id where nobody holds the lease, else under its id. */
export function checkChange(name: string, lease: Lease | undefined, id: string | undefined, now: number): void {
  const held = isHeld(lease, now);
  if (held && id === undefined) throw leaseConflict(name, "is leased: a change needs the lease's id");
  if (id !== undefined && !(held && lease.id === id)) throw leaseConflict(name, "is not leased under this id any more");
}

/** The lease after a change that was allowed: one that has ended is gone for good, its owner cannot renew it. */
export function afterChange(lease: Lease | undefined, now: number): Lease | undefined {
  return isHeld(lease, now) ? lease : undefined;
}
