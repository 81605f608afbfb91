import type { Clock } from "../clock.ts";

/**
 * So many are woken at a time, before other work has its turn. What ten thousand have to do when they are woken is in
 * memory all at once otherwise, and the first of their responses goes out when the last is made.
 */
const wokenAtOnce = 128;

/** Lets many wait for one thing to happen. Nothing is kept of who does not wait any more. */
export class Notifier {
  private readonly clock: Clock;
  private waiting = new Set<() => void>();
  /** Who waited at a `notify` and has not been woken yet. */
  private due = new Set<() => void>();

  constructor(clock: Clock) {
    this.clock = clock;
  }

  /** Wakes all who wait, in the order in which they came. */
  notify(): void {
    const isWaking = this.due.size > 0;
    for (const wake of this.waiting) this.due.add(wake);
    this.waiting.clear();
    if (!isWaking) this.wakeSome();
  }

  /** Resolves after the next `notify`, after `delayMs` (undefined: never), or when `signal` is aborted. */
  wait(delayMs: number | undefined, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal?.aborted === true) {
        resolve();
        return;
      }
      const wake = () => {
        this.waiting.delete(wake);
        this.due.delete(wake);
        timer?.cancel();
        signal?.removeEventListener("abort", wake);
        resolve();
      };
      const timer = delayMs === undefined ? undefined : this.clock.timer(delayMs, wake);
      signal?.addEventListener("abort", wake, { once: true });
      this.waiting.add(wake);
    });
  }

  private wakeSome(): void {
    let left = wokenAtOnce;
    for (const wake of this.due) {
      if (left-- === 0) break;
      wake();
    }
    if (this.due.size > 0) void this.clock.turn().then(() => this.wakeSome());
  }
}
