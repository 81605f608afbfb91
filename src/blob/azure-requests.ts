import type { Clock } from "../clock.ts";
import { sleep } from "../clock.ts";
import { isKind } from "../errors.ts";
import { mapAzureError } from "./azure-errors.ts";
import type { ObserveRequest, StorageOperation } from "./observe-requests.ts";

/** What bounds requests to Azure. */
export interface AzureLimits {
  /** When a request that carries content, or a listing, is given up, in milliseconds. */
  readonly requestTimeoutMs: number;
  /** When a request on the control blob or for properties is given up, in milliseconds: well below a lease's length. */
  readonly leaseTimeoutMs: number;
  /** How often a read is sent in all while storage fails, or throttles (paced-store.ts); changes are sent once. */
  readonly readAttemptsMax: number;
  /** The pause before the second attempt of a read, in milliseconds; it doubles for each further one. */
  readonly readRetryDelayMs: number;
}

/** A request, as it is sent: `signal` ends it. */
export type Send<T> = (signal: AbortSignal) => Promise<T>;

/** How requests to Azure are sent: bounded in time, with the port's errors. */
export interface AzureRequests {
  /** Sends a change, once. What may have been carried out is `indeterminate`. */
  change<T>(operation: StorageOperation, name: string, send: Send<T>, epoch?: number): Promise<T>;
  /** Sends a change of the control blob, once, with the short time-out. */
  control<T>(operation: StorageOperation, name: string, send: Send<T>): Promise<T>;
  /** Sends a read, again where it is `unavailable` (not where it timed out). */
  read<T>(operation: StorageOperation, name: string, send: Send<T>): Promise<T>;
  /** Sends a read without content, with the short time-out. */
  probe<T>(operation: StorageOperation, name: string, send: Send<T>): Promise<T>;
}

/** Makes the four ways to send a request. `observe` is told of each that is sent. */
export function createAzureRequests(clock: Clock, limits: AzureLimits, observe?: ObserveRequest): AzureRequests {
  const { requestTimeoutMs, leaseTimeoutMs } = limits;

  async function once<T>(name: string, timeoutMs: number, change: boolean, send: Send<T>, epoch?: number): Promise<T> {
    const controller = new AbortController();
    const timer = clock.timer(timeoutMs, () => controller.abort());
    try {
      return await send(controller.signal);
    } catch (error) {
      const timedOutAfterMs = controller.signal.aborted ? timeoutMs : undefined;
      throw mapAzureError(error, { name, change, timedOutAfterMs, ...(epoch === undefined ? {} : { epoch }) });
    } finally {
      timer.cancel();
    }
  }

  function sendOnce<T>(operation: StorageOperation, name: string, attempt: number, run: () => Promise<T>): Promise<T> {
    return observe === undefined ? run() : observe({ operation, name, attempt }, run);
  }

  async function repeatedly<T>(
    operation: StorageOperation,
    name: string,
    timeoutMs: number,
    send: Send<T>,
  ): Promise<T> {
    for (let attempt = 1; ; attempt += 1) {
      const startedAt = clock.monotonic();
      try {
        return await sendOnce(operation, name, attempt, () => once(name, timeoutMs, false, send));
      } catch (error) {
        const timedOut = clock.monotonic() - startedAt >= timeoutMs;
        if (attempt >= limits.readAttemptsMax || timedOut || !isKind(error, "unavailable")) throw error;
        // Half fixed, half random, so that nodes that were refused together do not come back together.
        const delayMs = limits.readRetryDelayMs * 2 ** (attempt - 1) * (0.5 + clock.random() / 2);
        await sleep(clock, delayMs);
      }
    }
  }

  return {
    change: (operation, name, send, epoch) =>
      sendOnce(operation, name, 1, () => once(name, requestTimeoutMs, true, send, epoch)),
    control: (operation, name, send) => sendOnce(operation, name, 1, () => once(name, leaseTimeoutMs, true, send)),
    read: (operation, name, send) => repeatedly(operation, name, requestTimeoutMs, send),
    probe: (operation, name, send) => repeatedly(operation, name, leaseTimeoutMs, send),
  };
}
