/** A value in use. */
export interface Loan<T> {
  readonly value: T;
  /**
   * Says that the value is not looked at any more: its memory may be freed from then on. Where nobody says so, the
   * garbage collector finds out.
   */
  giveBack(): void;
}

/** A loan of a value that is not done away with. */
export function lend<T>(value: T): Loan<T> {
  return { value, giveBack() {} };
}

/**
 * A cache of what was read from storage, bounded in bytes. What is being read is shared: one read for all who want the
 * same thing.
 *
 * Invariants: entries stand in the order of their last use; the sizes of those that have arrived sum up to `used`; the
 * reads under way are at most `readsMax`, further ones wait in line; a value is discarded once, when it is neither kept
 * nor on loan, and never while somebody has it who has not given it back.
 */
export class ByteCache<T> {
  private readonly bytesMax: number;
  private readonly readsMax: number;
  private readonly discard: ((value: T) => void) | undefined;
  private readonly entries = new Map<string, Entry<T>>();
  private readonly line: (() => void)[] = [];
  private readsUnderWay = 0;
  private used = 0;

  /**
   * `bytesMax`: what may be kept. `readsMax`: how many reads may be under way at once. `discard` is called with values
   * that are not needed any more: all who use them are to borrow them then.
   */
  constructor(bytesMax: number, readsMax: number, discard?: (value: T) => void) {
    this.bytesMax = bytesMax;
    this.readsMax = readsMax;
    this.discard = discard;
  }

  /** The value under `key`, read by `read` where it is not there. A read that fails is not kept. */
  get(key: string, read: () => Promise<Sized<T>>): Promise<T> {
    return this.entry(key, read).value;
  }

  /** The same, on loan: it is not discarded before it is given back. */
  async borrow(key: string, read: () => Promise<Sized<T>>): Promise<Loan<T>> {
    const entry = this.entry(key, read);
    entry.loans++;
    const value = await entry.value;
    let given = false;
    return {
      value,
      giveBack: () => {
        if (given) return;
        given = true;
        entry.loans--;
        this.discardUnused(entry);
      },
    };
  }

  /** Whether there is a value under `key`, or one is being read. */
  has(key: string): boolean {
    return this.entries.has(key);
  }

  /** Forgets what is kept under keys that begin with `prefix`. */
  forget(prefix: string): void {
    for (const key of this.entries.keys()) {
      if (key.startsWith(prefix)) this.drop(key, this.entries.get(key)!);
    }
  }

  private entry(key: string, read: () => Promise<Sized<T>>): Entry<T> {
    const known = this.entries.get(key);
    if (known !== undefined) {
      this.entries.delete(key);
      this.entries.set(key, known);
      return known;
    }
    const reading = this.inLine(read);
    const entry: Entry<T> = {
      value: reading.then(({ value }) => value),
      arrived: undefined,
      bytes: 0,
      loans: 0,
      dropped: false,
    };
    this.entries.set(key, entry);
    reading.then(
      ({ value, bytes }) => this.keep(entry, value, bytes),
      () => this.drop(key, entry),
    );
    return entry;
  }

  private async inLine<R>(read: () => Promise<R>): Promise<R> {
    if (this.readsUnderWay >= this.readsMax) await new Promise<void>((resolve) => this.line.push(resolve));
    else this.readsUnderWay++;
    try {
      return await read();
    } finally {
      const next = this.line.shift();
      if (next === undefined) this.readsUnderWay--;
      else next();
    }
  }

  private keep(entry: Entry<T>, value: T, bytes: number): void {
    entry.arrived = { value };
    // It may have been forgotten while it was read.
    if (entry.dropped) {
      this.discardUnused(entry);
      return;
    }
    entry.bytes = bytes;
    this.used += bytes;
    for (const [other, candidate] of this.entries) {
      if (this.used <= this.bytesMax) return;
      if (candidate !== entry && candidate.bytes > 0) this.drop(other, candidate);
    }
  }

  private drop(key: string, entry: Entry<T>): void {
    if (entry.dropped) return;
    entry.dropped = true;
    this.used -= entry.bytes;
    this.entries.delete(key);
    this.discardUnused(entry);
  }

  private discardUnused(entry: Entry<T>): void {
    const { arrived, loans, dropped } = entry;
    if (!dropped || loans > 0 || arrived === undefined) return;
    entry.arrived = undefined;
    this.discard?.(arrived.value);
  }
}

/** What a read gives: a value, and what it takes in memory. */
interface Sized<T> {
  readonly value: T;
  readonly bytes: number;
}

interface Entry<T> {
  readonly value: Promise<T>;
  /** The value, until it is discarded; undefined while it is being read. */
  arrived: { readonly value: T } | undefined;
  /** 0 while it is being read. */
  bytes: number;
  /** How many have it, or wait for it. */
  loans: number;
  /** Whether it is not in the cache any more. */
  dropped: boolean;
}
