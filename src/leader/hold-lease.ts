import type { BlobStore } from "../blob/blob-store.ts";
import { sleep } from "../clock.ts";
import type { Clock } from "../clock.ts";
import { isKind } from "../errors.ts";
import type { Log } from "../log.ts";
import { jitter } from "./backoff.ts";
import { describeSkew, readControl } from "./control.ts";
import type { Lease } from "./lease.ts";

/** What holding a lease needs. */
export interface HoldOptions {
  readonly store: BlobStore;
  readonly clock: Clock;
  readonly log: Log;
  /** How often the lease is renewed, in milliseconds. */
  readonly renewMs: number;
  /** How far this node's clock may be off storage's meanwhile, in milliseconds. */
  readonly clockSkewMsMax: number;
}

/** Why a lease is held no longer. */
export interface Loss {
  readonly reason: string;
  /** Whether it was taken from us before its time. */
  readonly deposed: boolean;
}

// After a renewal that failed while the lease is still held: at least half of it, at most the whole.
const retryMs = 500;

/** Renews `lease` until it is lost, or `signal` is aborted: then resolves to undefined. Never rejects. */
export async function holdLease(lease: Lease, options: HoldOptions, signal: AbortSignal): Promise<Loss | undefined> {
  const over = new AbortController();
  const until = AbortSignal.any([signal, over.signal]);
  // Side by side, so that a renewal that hangs cannot make a leader outlive its lease.
  const loss = await Promise.race([keepRenewing(lease, options, until), waitForExpiry(lease, options.clock, until)]);
  over.abort();
  return loss;
}

async function waitForExpiry(lease: Lease, clock: Clock, signal: AbortSignal): Promise<Loss | undefined> {
  while (!signal.aborted) {
    const remainingMs = lease.remainingMs();
    if (remainingMs <= 0) return { reason: "the lease ran out before it could be renewed", deposed: false };
    await sleep(clock, remainingMs, signal);
  }
  return undefined;
}

async function keepRenewing(lease: Lease, options: HoldOptions, signal: AbortSignal): Promise<Loss | undefined> {
  const { clock, log } = options;
  let waitMs = options.renewMs;
  for (;;) {
    await sleep(clock, waitMs, signal);
    if (signal.aborted) return undefined;
    waitMs = options.renewMs;
    try {
      const loss = await renew(lease, options);
      if (loss !== undefined) return loss;
    } catch (error) {
      waitMs = jitter(clock, retryMs);
      log.warn("the lease could not be renewed", { remainingMs: Math.round(lease.remainingMs()), error });
    }
  }
}

async function renew(lease: Lease, { store, clock, clockSkewMsMax }: HoldOptions): Promise<Loss | undefined> {
  const inTime = lease.remainingMs() > 0;
  try {
    await lease.renew();
  } catch (error) {
    if (!isKind(error, "conflict", "notFound")) throw error;
    return { reason: `the lease is not ours any more: ${error.message}`, deposed: inTime };
  }
  const control = await readControl(store, clock);
  const skew = describeSkew(control?.skewMs ?? 0, clockSkewMsMax);
  return skew === undefined ? undefined : { reason: skew, deposed: false };
}
