/** From values to places on an axis. */
export interface Scale {
  /** Where a value lies, in pixels. */
  place(value: number): number;
  /** The values that get a mark. */
  readonly ticks: readonly number[];
}

/** An even axis from 0 to at least `max`. `from` and `to`: its ends in pixels. */
export function linearScale(max: number, from: number, to: number): Scale {
  const step = niceStep((max > 0 ? max : 1) / 5);
  const count = Math.ceil(max / step - 1e-9);
  const end = Math.max(1, count) * step;
  const ticks = Array.from({ length: Math.max(1, count) + 1 }, (_, i) => Number((i * step).toPrecision(12)));
  return { place: (value) => from + (value / end) * (to - from), ticks };
}

/** A logarithmic axis over whole powers of ten. Values must be above 0. */
export function logScale(min: number, max: number, from: number, to: number): Scale {
  const first = Math.floor(Math.log10(min) + 1e-9);
  const last = Math.max(first + 1, Math.ceil(Math.log10(max) - 1e-9));
  const ticks = Array.from({ length: last - first + 1 }, (_, i) => Number(`1e${first + i}`));
  return { place: (value) => from + ((Math.log10(value) - first) / (last - first)) * (to - from), ticks };
}

/** A step of 1, 2 or 5 times a power of ten that is at least `step`. */
function niceStep(step: number): number {
  const power = 10 ** Math.floor(Math.log10(step));
  const factor = [1, 2, 5, 10].find((factor) => factor * power >= step * (1 - 1e-9)) ?? 10;
  return factor * power;
}

/** A value at an axis, short: 20, 1,000, 0.5, 2M. */
export function formatTick(value: number): string {
  if (Math.abs(value) >= 1e6) return `${Number((value / 1e6).toPrecision(3))}M`;
  return value.toLocaleString("en", { maximumSignificantDigits: 3 });
}
