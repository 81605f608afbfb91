/**
 * When a request may be sent, so that storage need not refuse it.
 *
 * Each limit is a lane: a time up to which its rate is spent. A request is sent when that time is at most `burstMs`
 * ahead, and moves it on by what it costs, so that whoever comes next waits behind it: requests leave in the order in
 * which they came, and no timer runs but that of the one who waits.
 *
 * Where storage refuses all the same (others use the blob too, or it allows less than it is said to), the blob pauses
 * for as long as storage asks, longer each time in a row, and a random part more; then its rates are lower, and grow
 * back slowly. A blob that is new begins with what was learned last: a stream's next segment has the same limits.
 *
 * Invariants: of what is sent for a blob in any span of time, at most its length plus `burstMs`, times the rate, and
 * one request more, is sent; nothing is sent for a blob that pauses; at most `pacedBlobsMax` blobs are remembered.
 */
import type { Clock } from "../clock.ts";
import { sleep } from "../clock.ts";

/** How fast requests may be sent. */
export interface PaceLimits {
  /** What may be read from and written to one page blob, in bytes a second. */
  readonly blobBytesPerSecondMax: number;
  /** How many requests may be sent for one blob, a second. */
  readonly blobRequestsPerSecondMax: number;
  /** How many requests may be sent in all, a second. */
  readonly accountRequestsPerSecondMax: number;
}

/**
 * Azure's targets: 60 MiB and 500 requests a second for a page blob ("Scalability and performance targets for Blob
 * storage"), 20,000 requests a second for an account ("... for standard storage accounts"; 40,000 in some regions).
 */
export const azurePace: PaceLimits = {
  blobBytesPerSecondMax: 60 * 1024 * 1024,
  blobRequestsPerSecondMax: 500,
  accountRequestsPerSecondMax: 20_000,
};

/** Limits that hold nothing back: for emulators. */
export const noPace: PaceLimits = {
  blobBytesPerSecondMax: Number.POSITIVE_INFINITY,
  blobRequestsPerSecondMax: Number.POSITIVE_INFINITY,
  accountRequestsPerSecondMax: Number.POSITIVE_INFINITY,
};

/** Paces requests. */
export interface Pacer {
  /** Resolves when a request for a blob may be sent. `bytes`: what of the blob goes over the wire. */
  admit(name: string, bytes: number): Promise<void>;
  /** Resolves when a change of a blob may be sent; the next request for it is then sent at once. */
  turn(name: string): Promise<void>;
  /** Resolves when a request that is not for one blob may be sent. */
  admitOther(): Promise<void>;
  /** Storage refused a request for a blob, and wants none for `retryAfterMs`. */
  throttled(name: string, retryAfterMs: number): void;
  /** Storage carried out a request for a blob. */
  served(name: string): void;
}

/** How far a lane may be ahead: what was not used for so long may be caught up. */
const burstMs = 250;

/** What is left of a blob's rates after a refusal, at the least, and how much comes back each second. */
const factorAfterRefusal = 0.75;
const factorMin = 0.05;
const recoveryPerSecond = 0.01;

/** The longest pause, unless storage asks for more. */
const pauseMsMax = 10_000;

/** How many blobs are remembered: those used last. */
const pacedBlobsMax = 4096;

/** The share of the rates that is used: `factor` at the time `setAt`, and growing. */
interface Share {
  readonly factor: number;
  readonly setAt: number;
}

interface PacedBlob {
  /** When the rate is spent up to, by the monotonic clock. */
  bytesAt: number;
  requestsAt: number;
  pausedUntil: number;
  /** Refusals in a row. */
  refusals: number;
  share: Share;
  /** Whether the next request was let through already. */
  hasTurn: boolean;
}

/** Makes a pacer under which nothing was sent yet. */
export function createPacer(clock: Clock, limits: PaceLimits): Pacer {
  const blobs = new Map<string, PacedBlob>();
  let accountAt = 0;
  let learned: Share = { factor: 1, setAt: 0 };

  function find(name: string): PacedBlob {
    const blob = blobs.get(name) ?? newBlob(learned);
    blobs.delete(name);
    blobs.set(name, blob);
    if (blobs.size > pacedBlobsMax) {
      for (const oldest of blobs.keys()) {
        blobs.delete(oldest);
        break;
      }
    }
    return blob;
  }

  /** Takes a request's place in the account's lane and returns when it may be sent. */
  function takeAccount(now: number): number {
    const sendAt = Math.max(now, accountAt - burstMs);
    accountAt = Math.max(accountAt, now) + 1000 / limits.accountRequestsPerSecondMax;
    return sendAt;
  }

  function payBytes(blob: PacedBlob, bytes: number, now: number): void {
    const perSecond = limits.blobBytesPerSecondMax * factorAt(blob.share, now);
    blob.bytesAt = Math.max(blob.bytesAt, now) + (1000 * bytes) / perSecond;
  }

  /** Takes a request's place in all lanes and returns when it may be sent. */
  function take(blob: PacedBlob, bytes: number): number {
    const now = clock.monotonic();
    const sendAt = Math.max(takeAccount(now), blob.bytesAt - burstMs, blob.requestsAt - burstMs);
    payBytes(blob, bytes, now);
    const perSecond = limits.blobRequestsPerSecondMax * factorAt(blob.share, now);
    blob.requestsAt = Math.max(blob.requestsAt, now) + 1000 / perSecond;
    return sendAt;
  }

  async function pass(blob: PacedBlob, bytes: number): Promise<void> {
    for (let sendAt = take(blob, bytes); ;) {
      const now = clock.monotonic();
      if (sendAt > now) await sleep(clock, sendAt - now);
      // A refusal that came meanwhile holds for those that waited too.
      if (clock.monotonic() >= blob.pausedUntil) return;
      sendAt = take(blob, bytes);
    }
  }

  return {
    async admit(name, bytes) {
      const blob = find(name);
      const now = clock.monotonic();
      const { hasTurn } = blob;
      blob.hasTurn = false;
      if (hasTurn && now >= blob.pausedUntil) payBytes(blob, bytes, now);
      else await pass(blob, bytes);
    },
    async turn(name) {
      const blob = find(name);
      await pass(blob, 0);
      blob.hasTurn = true;
    },
    async admitOther() {
      const now = clock.monotonic();
      const sendAt = takeAccount(now);
      if (sendAt > now) await sleep(clock, sendAt - now);
    },
    throttled(name, retryAfterMs) {
      const now = clock.monotonic();
      const blob = find(name);
      // What was under way when the first was refused says nothing new.
      if (now < blob.pausedUntil) return;
      const pauseMs = Math.max(retryAfterMs, Math.min(retryAfterMs * 2 ** blob.refusals, pauseMsMax));
      blob.refusals += 1;
      learned = { factor: Math.max(factorMin, factorAt(blob.share, now) * factorAfterRefusal), setAt: now };
      blob.share = learned;
      blob.pausedUntil = now + pauseMs * (1 + clock.random() / 2);
      // Behind a pause there is no burst: those that wait for its end would come back together.
      blob.bytesAt = Math.max(blob.bytesAt, blob.pausedUntil + burstMs);
      blob.requestsAt = Math.max(blob.requestsAt, blob.pausedUntil + burstMs);
    },
    served(name) {
      const blob = blobs.get(name);
      if (blob !== undefined) blob.refusals = 0;
    },
  };
}

function newBlob(share: Share): PacedBlob {
  return { bytesAt: 0, requestsAt: 0, pausedUntil: 0, refusals: 0, share, hasTurn: false };
}

function factorAt({ factor, setAt }: Share, now: number): number {
  return Math.min(1, factor + ((now - setAt) / 1000) * recoveryPerSecond);
}
