/** Sizes and times as people write them. */

const sizeUnits = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3, TiB: 1024 ** 4 };
const timeUnits = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Reads a size such as `64MiB` or `4096` in bytes; undefined where it is none, or no whole number of bytes. */
export function parseBytes(text: string): number | undefined {
  return parseQuantity(text, sizeUnits, 1);
}

/**
 * Reads a time such as `10s`, `24h` or `250` in units of `unitMs` milliseconds, which a plain number has too; undefined
 * where it is none, or no whole number of them.
 */
export function parseDuration(text: string, unitMs = 1): number | undefined {
  return parseQuantity(text, timeUnits, unitMs);
}

/** Writes a size in the largest unit that gives a whole number: `64 MiB`. */
export function formatBytes(bytes: number): string {
  return formatQuantity(bytes, sizeUnits);
}

/** Writes a time in the largest unit that gives a whole number: `24 h`. Whole days only from two on. */
export function formatDuration(ms: number): string {
  return formatQuantity(ms, ms === timeUnits.d ? { ...timeUnits, d: Infinity } : timeUnits);
}

function parseQuantity(text: string, units: Readonly<Record<string, number>>, base: number): number | undefined {
  const [, digits, unit] = /^(\d+(?:\.\d+)?) ?([a-z]*)$/i.exec(text.trim()) ?? [];
  if (digits === undefined || unit === undefined) return undefined;
  const known = Object.keys(units).find((name) => name.toLowerCase() === unit.toLowerCase());
  const factor = unit === "" ? base : units[known ?? ""];
  const value = factor === undefined ? Number.NaN : (Number(digits) * factor) / base;
  return Number.isSafeInteger(value) ? value : undefined;
}

function formatQuantity(value: number, units: Readonly<Record<string, number>>): string {
  const [smallest] = Object.keys(units);
  const fits = Object.entries(units).findLast(([, factor]) => value >= factor && value % factor === 0);
  return fits === undefined ? `${value} ${smallest}` : `${value / fits[1]} ${fits[0]}`;
}
