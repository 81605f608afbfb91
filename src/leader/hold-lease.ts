import type { Etag } from "../blob/blob-store.ts";
import { sleep } from "../clock.ts";
import type { Clock } from "../clock.ts";
import { isKind } from "../errors.ts";
import type { Log } from "../log.ts";
import { jitter } from "./backoff.ts";
import type { Lease } from "./lease.ts";
import { describeSkew } from "./skew.ts";

/** What holding a lease needs. */
export interface HoldOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** How often the lease is renewed, in milliseconds. */
  readonly renewMs: number;
  /** How far this node's clock may be off storage's meanwhile, in milliseconds. */
  readonly clockSkewMsMax: number;
  /**
   * Whether the claim that was made stands while the blob has this version. A lease may be held though another has
   * claimed since: an acquire that storage carries out late takes it behind the other's back.
   */
  readonly isClaimed: (etag: Etag) => Promise<boolean>;
}

// After a renewal that failed while the lease is still held: at least half of it, at most the whole.
const retryMs = 500;

/**
 * Renews `lease` until it is lost, and resolves to the reason in words, or until `signal` is aborted, and resolves to
 * undefined. Never rejects. One request for each renewal.
 */
export async function holdLease(lease: Lease, options: HoldOptions, signal: AbortSignal): Promise<string | undefined> {
  const over = new AbortController();
  const until = AbortSignal.any([signal, over.signal]);
  // Side by side, so that a renewal that hangs cannot make a leader outlive its lease.
  const loss = await Promise.race([keepRenewing(lease, options, until), waitForExpiry(lease, options.clock, until)]);
  over.abort();
  return loss;
}

async function waitForExpiry(lease: Lease, clock: Clock, signal: AbortSignal): Promise<string | undefined> {
  while (!signal.aborted) {
    const remainingMs = lease.remainingMs();
    if (remainingMs <= 0) return "the lease ran out before it could be renewed";
    await sleep(clock, remainingMs, signal);
  }
  return undefined;
}

async function keepRenewing(lease: Lease, options: HoldOptions, signal: AbortSignal): Promise<string | undefined> {
  const { clock, log } = options;
  let waitMs = options.renewMs;
  for (;;) {
    const dueAt = clock.monotonic() + waitMs;
    await sleep(clock, waitMs, signal);
    if (signal.aborted) return undefined;
    waitMs = options.renewMs;
    try {
      const loss = await renew(lease, options);
      if (loss !== undefined) return loss;
      // How much a busy event loop and storage together take of the lease.
      log.debug("renewed the lease", { tookMs: Math.round(clock.monotonic() - dueAt) });
    } catch (error) {
      waitMs = jitter(clock, retryMs);
      log.warn("the lease could not be renewed", { remainingMs: Math.round(lease.remainingMs()), error });
    }
  }
}

async function renew(lease: Lease, { clockSkewMsMax, isClaimed }: HoldOptions): Promise<string | undefined> {
  try {
    const { skewMs, etag } = await lease.renew();
    return (await isClaimed(etag)) ? describeSkew(skewMs, clockSkewMsMax) : "another node has claimed a newer epoch";
  } catch (error) {
    if (!isKind(error, "conflict", "notFound")) throw error;
    return `the lease is not ours any more: ${error.message}`;
  }
}
