/** What one measurement took. */
export interface Sample {
  readonly bytes: number;
  readonly seconds: number;
  /** Processor time of the process that is measured, where the system tells it. */
  readonly cpuSeconds?: number | undefined;
}

/** The middle and the ends of what several rounds measured. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** The spread of at least one value. */
export function spreadOf(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  const lower = sorted.length % 2 === 1 ? upper : (sorted[middle - 1] ?? Number.NaN);
  return { median: (lower + upper) / 2, min: sorted[0] ?? Number.NaN, max: sorted.at(-1) ?? Number.NaN };
}

/** A sample's rate in MB/s, which are 10^6 bytes. */
export function megabytesPerSecond({ bytes, seconds }: Sample): number {
  return bytes / 1e6 / seconds;
}

/** A number with so many digits behind the point, for output. */
export function roundTo(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}
