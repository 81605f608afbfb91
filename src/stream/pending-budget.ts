import type { Clock } from "../clock.ts";
import { Notifier } from "./notifier.ts";

/** Counts the bytes of publishes that are not answered yet, and lets those wait who can. */
export class PendingBudget {
  readonly bytesMax: number;
  private readonly parent: PendingBudget | undefined;
  private readonly room: Notifier;
  private used = 0;
  private taken = 0;

  /** A budget of `bytesMax`; what is taken from it is taken from `parent` too. */
  constructor(clock: Clock, bytesMax: number, parent?: PendingBudget) {
    this.bytesMax = bytesMax;
    this.parent = parent;
    this.room = new Notifier(clock);
  }

  /** The bytes that are taken. */
  get usedBytes(): number {
    return this.used;
  }

  /** How many have taken some. */
  get count(): number {
    return this.taken;
  }

  /** Whether nothing more may be taken. One request may go over the limit, so that any request has a chance. */
  get exhausted(): boolean {
    return this.used >= this.bytesMax || (this.parent?.exhausted ?? false);
  }

  /** Takes `bytes`. */
  take(bytes: number): void {
    this.used += bytes;
    this.taken++;
    this.parent?.take(bytes);
  }

  /** Gives `bytes` back. */
  giveBack(bytes: number): void {
    this.used -= bytes;
    this.taken--;
    this.parent?.giveBack(bytes);
    if (this.hasRoom) this.room.notify();
  }

  /** Resolves when at least half is free, or `signal` is aborted. */
  async waitForRoom(signal: AbortSignal): Promise<void> {
    while (!this.hasRoom && !signal.aborted) await this.room.wait(undefined, signal);
    if (this.parent !== undefined) await this.parent.waitForRoom(signal);
  }

  private get hasRoom(): boolean {
    return this.used <= this.bytesMax / 2;
  }
}
