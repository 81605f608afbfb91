import type { Clock } from "../clock.ts";
import { Notifier } from "./notifier.ts";

/** Room that is kept for a publish until it has taken its bytes. */
export interface Room {
  /** It has taken them, or never will. Harmless the second time. */
  release(): void;
}

/** Counts the bytes of publishes that are not answered yet, and lets those wait who can. */
export class PendingBudget {
  readonly bytesMax: number;
  private readonly parent: PendingBudget | undefined;
  private readonly room: Notifier;
  private used = 0;
  private taken = 0;
  /** What is kept for those who have waited for room and have not taken any yet. */
  private promised = 0;

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

  /**
   * Resolves when at least half is free, or `signal` is aborted. Many wait at a time: so that those who are let in do
   * not take more than there is, room for `bytes` is kept for each.
   */
  async waitForRoom(bytes: number, signal: AbortSignal): Promise<Room> {
    for (let full = this.findFull(); full !== undefined && !signal.aborted; full = this.findFull()) {
      await full.room.wait(undefined, signal);
    }
    this.promise(bytes);
    let kept = true;
    return {
      release: () => {
        if (kept) this.promise(-bytes);
        kept = false;
      },
    };
  }

  private findFull(): PendingBudget | undefined {
    return this.hasRoom ? this.parent?.findFull() : this;
  }

  private promise(bytes: number): void {
    this.promised += bytes;
    this.parent?.promise(bytes);
    if (bytes < 0 && this.hasRoom) this.room.notify();
  }

  private get hasRoom(): boolean {
    return this.used + this.promised <= this.bytesMax / 2;
  }
}
