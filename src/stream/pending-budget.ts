/**
 * The bytes of publishes that are not answered yet, and a line for those who can wait.
 *
 * Invariants: who stands in line has taken nothing; who leaves it has taken its bytes by then, so that as many are let in
 * as there is room for; they leave in the order in which they came, each when at least half is free.
 */

/** Room that is taken for a publish before it is handed on. */
export interface Room {
  /** Gives it back: whoever goes on with the publish has taken its own, or nobody does. Harmless the second time. */
  release(): void;
}

/** Counts the bytes of publishes that are not answered yet, and lets those wait who can. */
export class PendingBudget {
  readonly bytesMax: number;
  private readonly parent: PendingBudget | undefined;
  private readonly line = new Set<() => void>();
  private used = 0;
  private taken = 0;

  /** A budget of `bytesMax`; what is taken from it is taken from `parent` too. */
  constructor(bytesMax: number, parent?: PendingBudget) {
    this.bytesMax = bytesMax;
    this.parent = parent;
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
    this.takeHere(bytes);
    this.parent?.take(bytes);
  }

  /** Gives `bytes` back. */
  giveBack(bytes: number): void {
    this.giveBackHere(bytes);
    this.parent?.giveBack(bytes);
  }

  /** Takes room for `bytes` when at least half is free, here and in the parent, or when `signal` is aborted. */
  async waitForRoom(bytes: number, signal: AbortSignal): Promise<Room> {
    await this.standInLine(bytes, signal);
    const above = await this.parent?.waitForRoom(bytes, signal);
    let kept = true;
    return {
      release: () => {
        if (!kept) return;
        kept = false;
        this.giveBackHere(bytes);
        above?.release();
      },
    };
  }

  /** Resolves when `bytes` are taken here. */
  private standInLine(bytes: number, signal: AbortSignal): Promise<void> | undefined {
    if (signal.aborted || (this.line.size === 0 && this.hasRoom)) {
      this.takeHere(bytes);
      return undefined;
    }
    return new Promise((resolve) => {
      const enter = () => {
        this.line.delete(enter);
        signal.removeEventListener("abort", enter);
        this.takeHere(bytes);
        resolve();
      };
      signal.addEventListener("abort", enter, { once: true });
      this.line.add(enter);
    });
  }

  private takeHere(bytes: number): void {
    this.used += bytes;
    this.taken++;
  }

  private giveBackHere(bytes: number): void {
    this.used -= bytes;
    this.taken--;
    for (const enter of this.line) {
      if (!this.hasRoom) return;
      enter();
    }
  }

  private get hasRoom(): boolean {
    return this.used <= this.bytesMax / 2;
  }
}
