/** The middle, the quartiles and the ends of what several rounds measured. */
export interface Spread {
  readonly median: number;
  /** The lower and the upper quartile: half of the values lie between them. */
  readonly q1: number;
  readonly q3: number;
  readonly min: number;
  readonly max: number;
  /** How many values there were. */
  readonly count: number;
}

/** The spread of values; NaN throughout where there are none. */
export function spreadOf(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  const [min, q1, median, q3, max] = [0, 0.25, 0.5, 0.75, 1].map((share) => quantile(sorted, share)) as Five;
  return { median, q1, q3, min, max, count: sorted.length };
}

type Five = [number, number, number, number, number];

/**
 * The value below which `share` (0 to 1) of the values lie, between two neighbours in proportion (R's type 7). `sorted`
 * in ascending order; NaN where it is empty.
 */
export function quantile(sorted: ArrayLike<number>, share: number): number {
  const at = (sorted.length - 1) * share;
  const below = sorted[Math.floor(at)] ?? Number.NaN;
  const above = sorted[Math.ceil(at)] ?? Number.NaN;
  return below + (above - below) * (at - Math.floor(at));
}

/** The percentiles that are told of latencies, in milliseconds. */
export interface Percentiles {
  readonly p50Ms: number;
  readonly p90Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
}

/** The percentiles of latencies in milliseconds, in any order. */
export function percentilesOf(latenciesMs: Iterable<number>): Percentiles {
  const sorted = Float64Array.from(latenciesMs).toSorted();
  return {
    p50Ms: quantile(sorted, 0.5),
    p90Ms: quantile(sorted, 0.9),
    p99Ms: quantile(sorted, 0.99),
    p999Ms: quantile(sorted, 0.999),
  };
}

/**
 * What sums of one value of each list come to, `count` of them, drawn by a generator that gives the same in each run:
 * how long several things take one after the other that were measured one by one.
 */
export function sumAtRandom(lists: readonly (readonly number[])[], count: number, random: () => number): number[] {
  return Array.from({ length: count }, () =>
    lists.reduce((sum, list) => sum + (list[Math.floor(random() * list.length)] ?? Number.NaN), 0),
  );
}

/** Numbers from 0 (inclusive) to 1 (exclusive) that look random and are the same in each run: xorshift32. */
export function createRandom(seed = 0x9e3779b9): () => number {
  let state = seed | 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

/** A number with so many significant digits, for output. */
export function roundTo(value: number, digits: number): number {
  return Number(value.toPrecision(digits));
}
