/** Numbers, times and tables for people. */

const grouped = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

/** 52928 → `52,928`. */
export function describeCount(count: number | bigint): string {
  return grouped.format(count);
}

/** One of something, or several: `1 record`, `2 records`. */
export function describeSome(count: number | bigint, noun: string): string {
  return `${describeCount(count)} ${noun}${BigInt(count) === 1n ? "" : "s"}`;
}

/** Bytes in the largest unit that leaves at least one: `16.2 MiB`. */
export function describeBytes(sizeBytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = sizeBytes < 1024 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(sizeBytes) / 10));
  const value = sizeBytes / 1024 ** power;
  return `${power === 0 ? value : value.toFixed(1)} ${units[power]}`;
}

/** Milliseconds since 1970 as RFC 3339 in UTC; `-` where there is none. */
export function describeTime(timestamp: number | undefined): string {
  return timestamp === undefined ? "-" : new Date(timestamp).toISOString();
}

/** Rows in columns. Columns whose head ends in `>` are aligned to the right. */
export function describeTable(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const right = heads.map((head) => head.endsWith(">"));
  const titles = heads.map((head) => head.replace(/>$/, ""));
  const widths = titles.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]?.length ?? 0)));
  const lines = [titles, ...rows].map((row) =>
    row.map((cell, i) => (right[i] === true ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!))).join("  "),
  );
  return lines.map((line) => `${line.trimEnd()}\n`).join("");
}

/** Names and values, one pair a line. */
export function describeFields(fields: Readonly<Record<string, string>>): string {
  const width = Math.max(...Object.keys(fields).map((name) => name.length));
  return Object.entries(fields)
    .map(([name, value]) => `${name.padEnd(width)}  ${value}\n`)
    .join("");
}

/** The fields of an object under the names that the API gives them: `firstOffset` becomes `first_offset`. */
export function toJsonFields(fields: object): Record<string, unknown> {
  const toSnakeCase = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [toSnakeCase(name), value]));
}

/** One line of JSON. Offsets and other 64-bit numbers become strings: JSON's numbers do not hold them all. */
export function toJsonLine(value: unknown): string {
  return `${JSON.stringify(value, (_key, item: unknown) => (typeof item === "bigint" ? item.toString() : item))}\n`;
}
