/**
 * How many bytes of responses may wait for the clients to take them: of one call, and of all calls together.
 *
 * Invariants:
 * - `used` is the sum of what the calls in `holding` have unsent; who has nothing unsent is not among them.
 * - `holding` is in the order of the last progress: the first is the one that has stood still for longest.
 * - While `used` is at its limit nothing is handed to the transport. Who waits has one response in hand, which is not
 *   copied yet, and gets its turn in the order of coming.
 * - While somebody waits, a call whose client takes nothing for `stalledMs` is cut off: else clients that stand still
 *   could hold up all others.
 */
import type { Clock, Timer } from "../clock.ts";
import type { WireBytes } from "./handlers.ts";

/** How many bytes of a call's responses may wait for the transport before the handler is asked for more. */
export const callUnsentBytesMax = 256 * 1024;

/** What bounds the responses of all calls. */
export interface ResponseLimits {
  /** The most bytes that may wait for clients, of all calls together; one response may go over it. */
  readonly unsentBytesMax: number;
  /** How long a client may take nothing while others wait for room, in milliseconds. */
  readonly stalledMs: number;
}

/** What a call is sent by. */
export interface Outlet {
  /** Hands a response to the transport, which calls `onSent` once the client's window has taken it, or never. */
  write(response: WireBytes, onSent: () => void): void;
  /** Ends the call at once, with all that waits. */
  cutOff(): void;
}

/** Sends the responses of one call. */
export interface ResponseRoom {
  /** Sends a response, resolves (undefined: at once) when there is room for the next one. One at a time. */
  send(response: WireBytes): Promise<void> | undefined;
  /** Forgets what is unsent: the call is gone, and its responses with it. */
  forget(): void;
}

interface Holder {
  readonly outlet: Outlet;
  unsentBytes: number;
  /** When it began to hold something, or the client took something last, by the monotonic clock. */
  progressAt: number;
}

/** What the calls of a server share. */
export class UnsentBudget {
  private readonly clock: Clock;
  private readonly limits: ResponseLimits;
  private readonly holding = new Set<Holder>();
  private readonly waiting = new Set<() => void>();
  private used = 0;
  private look: Timer | undefined;

  constructor(clock: Clock, limits: ResponseLimits) {
    this.clock = clock;
    this.limits = limits;
  }

  /** The bytes that wait for clients. */
  get usedBytes(): number {
    return this.used;
  }

  /** Makes the room of one call. After `signal` is aborted nothing is held back any more. */
  createRoom(outlet: Outlet, signal: AbortSignal): ResponseRoom {
    const holder: Holder = { outlet, unsentBytes: 0, progressAt: 0 };
    let gone = false;
    let wake: (() => void) | undefined;
    // After a cancel no write may ever be called back; and a drain does not wait for a client that stands still.
    signal.addEventListener("abort", () => wake?.(), { once: true });

    const hasRoom = () => signal.aborted || (!this.exhausted && holder.unsentBytes < callUnsentBytesMax);

    const write = (response: WireBytes) => {
      const bytes = response.byteLength;
      this.take(holder, bytes);
      outlet.write(response, () => {
        if (gone) return;
        this.giveBack(holder, bytes);
        if (hasRoom()) wake?.();
      });
    };

    /** Resolves when there is room: `then` runs right before, so that who comes next sees what it took. */
    const waitForRoom = (then?: () => void) =>
      new Promise<void>((resolve) => {
        const done = () => {
          this.waiting.delete(turn);
          wake = undefined;
          then?.();
          resolve();
        };
        const turn = () => {
          if (hasRoom()) done();
        };
        wake = turn;
        this.waiting.add(turn);
        this.lookForStalled();
      });

    return {
      send: (response) => {
        if (this.exhausted && !signal.aborted) {
          return waitForRoom(() => write(response)).then(() => (hasRoom() ? undefined : waitForRoom()));
        }
        write(response);
        return hasRoom() ? undefined : waitForRoom();
      },
      forget: () => {
        gone = true;
        this.giveBack(holder, holder.unsentBytes);
        wake?.();
      },
    };
  }

  private get exhausted(): boolean {
    return this.used >= this.limits.unsentBytesMax;
  }

  private take(holder: Holder, bytes: number): void {
    if (holder.unsentBytes === 0) {
      holder.progressAt = this.clock.monotonic();
      this.holding.add(holder);
    }
    holder.unsentBytes += bytes;
    this.used += bytes;
  }

  private giveBack(holder: Holder, bytes: number): void {
    const wasExhausted = this.exhausted;
    holder.unsentBytes -= bytes;
    this.used -= bytes;
    this.holding.delete(holder);
    if (holder.unsentBytes > 0) {
      holder.progressAt = this.clock.monotonic();
      this.holding.add(holder);
    }
    if (!wasExhausted) return;
    for (const turn of this.waiting) {
      if (this.exhausted) return;
      turn();
    }
  }

  /** Looks, as long as somebody waits, for clients that stand still. */
  private lookForStalled(): void {
    if (this.look !== undefined || !this.exhausted) return;
    this.look = this.clock.timer(this.limits.stalledMs / 4, () => {
      this.look = undefined;
      const stalledSince = this.clock.monotonic() - this.limits.stalledMs;
      for (const holder of this.holding) {
        if (!this.exhausted || holder.progressAt > stalledSince) break;
        holder.outlet.cutOff();
      }
      if (this.waiting.size > 0) this.lookForStalled();
    });
  }
}
