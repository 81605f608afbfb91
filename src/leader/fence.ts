import type { Fence } from "../blob/blob-store.ts";
import { VaultError } from "../errors.ts";
import type { Lease } from "./lease.ts";

/** The fence of one claim. When it has ended it never holds again: ask the election for the next one. */
export interface LeaderFence extends Fence {
  /** Aborted when leadership under this epoch ended; the reason is a VaultError of kind `fenced`. */
  readonly ended: AbortSignal;
}

/** A fence and the way to end it. */
export interface FenceControl {
  readonly fence: LeaderFence;
  /** Ends the fence; `reason` completes the sentence "epoch 7 is over: …". Harmless when it has ended. */
  end(reason: string): void;
}

/** Makes the fence of `epoch`, which holds while `lease` does and until it is ended. */
export function createFence(epoch: number, lease: Lease): FenceControl {
  const ending = new AbortController();
  let over: string | undefined;
  return {
    fence: {
      epoch,
      get provenAt() {
        return lease.provenAt;
      },
      ended: ending.signal,
      assertHeld() {
        if (over !== undefined) throw fencedError(epoch, over);
        if (lease.remainingMs() <= 0) throw fencedError(epoch, "the lease ran out before it could be renewed");
      },
    },
    end(reason) {
      if (over !== undefined) return;
      over = reason;
      ending.abort(fencedError(epoch, reason));
    },
  };
}

function fencedError(epoch: number, reason: string): VaultError {
  return new VaultError("fenced", `epoch ${epoch} is over: ${reason}`);
}
