/**
 * A cache of what was read from storage, bounded in bytes. What is being read is shared: one read for all who want the
 * same thing.
 *
 * Invariants: entries stand in the order of their last use; the sizes of those that have arrived sum up to `used`; the
 * reads under way are at most `readsMax`, further ones wait in line.
 */
export class ByteCache<T> {
  private readonly bytesMax: number;
  private readonly readsMax: number;
  private readonly entries = new Map<string, Entry<T>>();
  private readonly line: (() => void)[] = [];
  private readsUnderWay = 0;
  private used = 0;

  /** `bytesMax`: what may be kept. `readsMax`: how many reads may be under way at once. */
  constructor(bytesMax: number, readsMax: number) {
    this.bytesMax = bytesMax;
    this.readsMax = readsMax;
  }

  /** The value under `key`, read by `read` where it is not there. A read that fails is not kept. */
  get(key: string, read: () => Promise<{ value: T; bytes: number }>): Promise<T> {
    const known = this.entries.get(key);
    if (known !== undefined) {
      this.entries.delete(key);
      this.entries.set(key, known);
      return known.value;
    }
    const reading = this.inLine(read);
    const entry: Entry<T> = { value: reading.then(({ value }) => value), bytes: 0 };
    this.entries.set(key, entry);
    reading.then(
      ({ bytes }) => this.keep(key, entry, bytes),
      () => this.drop(key, entry),
    );
    return entry.value;
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

  private keep(key: string, entry: Entry<T>, bytes: number): void {
    // It may have been forgotten while it was read.
    if (this.entries.get(key) !== entry) return;
    entry.bytes = bytes;
    this.used += bytes;
    for (const [other, candidate] of this.entries) {
      if (this.used <= this.bytesMax) return;
      if (candidate !== entry && candidate.bytes > 0) this.drop(other, candidate);
    }
  }

  private drop(key: string, entry: Entry<T>): void {
    if (this.entries.get(key) !== entry) return;
    this.used -= entry.bytes;
    this.entries.delete(key);
  }
}

interface Entry<T> {
  readonly value: Promise<T>;
  /** 0 while it is being read. */
  bytes: number;
}
