import type { Clock } from "../clock.ts";

/** Lets many wait for one thing to happen. Nothing is kept of who does not wait any more. */
export class Notifier {
  private readonly clock: Clock;
  private readonly waiting = new Set<() => void>();

  constructor(clock: Clock) {
    this.clock = clock;
  }

  /** Wakes all who wait. */
  notify(): void {
    const woken = [...this.waiting];
    this.waiting.clear();
    for (const wake of woken) wake();
  }

  /** Resolves at the next `notify`, after `delayMs` (undefined: never), or when `signal` is aborted. */
  wait(delayMs: number | undefined, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal?.aborted === true) {
        resolve();
        return;
      }
      const wake = () => {
        this.waiting.delete(wake);
        timer?.cancel();
        signal?.removeEventListener("abort", wake);
        resolve();
      };
      const timer = delayMs === undefined ? undefined : this.clock.timer(delayMs, wake);
      signal?.addEventListener("abort", wake, { once: true });
      this.waiting.add(wake);
    });
  }
}
