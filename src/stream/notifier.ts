import type { Clock } from "../clock.ts";

/** Lets many wait for one thing to happen. Nothing is kept of who does not wait any more. */
export class Notifier {
  private readonly clock: Clock;
  private readonly wokenAtOnce: number;
  private readonly waiting = new Set<() => void>();
  /** Who waited at a `notify` and has not been woken yet. */
  private readonly due = new Set<() => void>();
  private waking = false;

  /**
   * `wokenAtOnce`: so many are woken before other work has its turn. What ten thousand have to do when they are woken is in
   * memory all at once otherwise, and the first of their responses goes out when the last is made.
   */
  constructor(clock: Clock, wokenAtOnce = Infinity) {
    this.clock = clock;
    this.wokenAtOnce = wokenAtOnce;
  }

  /** Wakes all who wait, in the order in which they came. */
  notify(): void {
    for (const wake of this.waiting) this.due.add(wake);
    this.waiting.clear();
    if (!this.waking) this.wakeSome();
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
    let left = this.wokenAtOnce;
    for (const wake of this.due) {
      if (left-- === 0) break;
      wake();
    }
    this.waking = this.due.size > 0;
    if (this.waking) void this.clock.turn().then(() => this.wakeSome());
  }
}
