import type { BlobStore } from "../blob/blob-store.ts";
import { sleep } from "../clock.ts";
import type { Clock } from "../clock.ts";
import { VaultError, isKind } from "../errors.ts";
import type { Log } from "../log.ts";
import { jitter } from "./backoff.ts";
import { claimEpoch, controlName, openControl } from "./control.ts";
import type { Claimant, ClaimOptions, Control } from "./control.ts";
import { createLease } from "./lease.ts";
import type { Lease } from "./lease.ts";

/** Who stands for leadership, and what that needs. */
export interface Candidacy {
  readonly store: BlobStore;
  readonly clock: Clock;
  readonly log: Log;
  readonly self: Claimant;
  /** The length of the lease in seconds: 15 to 60. */
  readonly leaseSeconds: number;
  /** Aborted when the node closes. */
  readonly closing: AbortSignal;
}

/** A leadership that was won: a lease that is held, and what the claim under it wrote. */
export interface Standing {
  readonly lease: Lease;
  readonly control: Control;
}

// An acquire whose answer was lost is sent again so often, so long after.
const acquireAttemptsMax = 3;
const acquireRetryMs = 500;

/** Claims the epoch after `found`'s, and then takes the lease, which nobody holds; undefined where another was first. */
export async function stand(candidacy: Candidacy, found: Control, claim: ClaimOptions): Promise<Standing | undefined> {
  const { store, clock, log, self, leaseSeconds } = candidacy;
  const claimed = await claimEpoch(store, clock, found, self, claim);
  if (claimed === undefined) return undefined;
  const lease = createLease(store, clock, controlName, leaseSeconds);
  try {
    if (!(await acquire(candidacy, lease))) return undefined;
    const control = await confirm(candidacy, claimed, lease);
    if (control === undefined) throw new VaultError("conflict", "the lease was lost as soon as it was taken");
    return { lease, control };
  } catch (error) {
    await release(lease, log);
    throw error;
  }
}

/** Gives a lease back, if storage lets it. Never rejects. */
export async function release(lease: Lease, log: Log): Promise<void> {
  try {
    await lease.release();
  } catch (error) {
    // It runs out by itself.
    log.debug("the lease could not be given back", { error });
  }
}

async function acquire({ clock, closing }: Candidacy, lease: Lease): Promise<boolean> {
  for (let attempt = 1; ; attempt++) {
    try {
      await lease.acquire();
      return true;
    } catch (error) {
      if (isKind(error, "conflict")) return false;
      if (attempt === acquireAttemptsMax || closing.aborted) throw error;
    }
    await sleep(clock, jitter(clock, acquireRetryMs), closing);
  }
}

/** Makes sure that the last claim is our own, now that nobody can claim without the lease. */
async function confirm(
  { store, clock, self }: Candidacy,
  claimed: Control,
  lease: Lease,
): Promise<Control | undefined> {
  const now = await openControl(store, clock);
  if (now.etag === claimed.etag) return claimed;
  const { failover, silences } = claimed;
  return claimEpoch(store, clock, now, self, { above: claimed.epoch, leaseId: lease.id, failover, silences });
}
