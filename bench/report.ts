import { describeMachine } from "./machine.ts";
import type { Machine } from "./machine.ts";
import type { BenchSettings, MeasurementName } from "./measurement.ts";
import { megabytesPerSecond, roundTo, spreadOf } from "./statistics.ts";
import type { Sample, Spread } from "./statistics.ts";
import type { ThroughputResult } from "./throughput.ts";

/** The medians of a run of the bench, divided by those of their limits. */
export type Ratios = Partial<Record<keyof typeof ratioParts, number>>;

/** What a run of the bench comes to. Rates are in MB/s, which are 10^6 bytes. */
export interface ThroughputReport {
  readonly ratios: Ratios;
  /** What the bare servers and the bare storage do. */
  readonly limits: Partial<Record<MeasurementName, Spread>>;
  /** What the vault does. */
  readonly vault: Partial<Record<MeasurementName, Spread>>;
  /** Processor seconds of the vault, or of the bare server, for each GB. */
  readonly cpuSecondsPerGb: Partial<Record<MeasurementName, number>>;
  readonly notes: readonly string[];
  readonly settings: BenchSettings;
  readonly machine: Machine;
  readonly node: string;
}

/** Each ratio: what is measured, and the limits of which the lower one counts. */
const ratioParts = {
  publish_file: ["publish_file", ["swallow", "raw_page_writes_file"]],
  replay_file_cold: ["replay_file_cold", ["blast", "raw_reads_file"]],
  replay_file_cold_to_blast: ["replay_file_cold", ["blast"]],
  replay_file_page_cache: ["replay_file_page_cache", ["blast"]],
  replay_file_warm: ["replay_file_warm", ["blast"]],
  publish_azurite: ["publish_azurite", ["raw_put_page_azurite"]],
  replay_azurite: ["replay_azurite", ["raw_reads_azurite"]],
} as const satisfies Record<string, readonly [MeasurementName, readonly MeasurementName[]]>;

/**
 * What the limits were on the machine that this was made on (two cores, 2026-11), in MB/s, measured the same way
 * before there was a vault. A machine of the same kind that stays far below is busy with something else.
 */
const reference: Partial<Record<MeasurementName, number>> = {
  swallow: 230,
  blast: 603,
  raw_page_writes_file: 196,
  raw_put_page_azurite: 57,
  raw_reads_azurite: 125,
};

const referenceShareMin = 0.8;

const limitNames: ReadonlySet<MeasurementName> = new Set([
  "swallow",
  "blast",
  "raw_page_writes_file",
  "raw_reads_file",
  "raw_put_page_azurite",
  "raw_reads_azurite",
]);

/** Sums a run up. */
export function reportThroughput({ settings, samples, notes }: ThroughputResult): ThroughputReport {
  const spreads = new Map([...samples].map(([name, taken]) => [name, rateSpread(taken)]));
  const machine = describeMachine();
  const pick = (wanted: (name: MeasurementName) => boolean) =>
    Object.fromEntries([...spreads].filter(([name]) => wanted(name)));
  return {
    ratios: computeRatios(spreads),
    limits: pick((name) => limitNames.has(name)),
    vault: pick((name) => !limitNames.has(name)),
    cpuSecondsPerGb: Object.fromEntries([...samples].flatMap(([name, taken]) => cpuEntry(name, taken))),
    notes: [...notes, ...compareWithReference(spreads)],
    settings,
    machine,
    node: machine.node,
  };
}

/** The report as a table. */
export function formatReport(report: ThroughputReport): string {
  const { machine, settings } = report;
  const rows = Object.entries({ ...report.limits, ...report.vault }).map(([name, spread]) => {
    const known = reference[name as MeasurementName];
    const cpu = report.cpuSecondsPerGb[name as MeasurementName];
    return [
      name,
      spread.median.toFixed(0),
      `${spread.min.toFixed(0)} – ${spread.max.toFixed(0)}`,
      known === undefined ? "" : String(known),
      cpu === undefined ? "" : cpu.toFixed(1),
    ];
  });
  const ratios = Object.entries(report.ratios).map(([name, ratio]) => [
    name,
    `${(ratio * 100).toFixed(0)} %`,
    `of ${ratioParts[name as keyof typeof ratioParts][1].join(" or ")}`,
  ]);
  return [
    `${machine.cpu}, ${machine.cores} cores, ${machine.system}, Node ${machine.node}, commit ${machine.commit}`,
    `${settings.rounds} rounds; batches of ${settings.batch} records of ${settings.recordBytes} bytes`,
    "",
    alignColumns([["MB/s", "median", "min – max", "reference", "CPU s/GB"], ...rows]),
    "",
    alignColumns([["ratio of the medians", "", ""], ...ratios]),
    ...(report.notes.length > 0 ? ["", ...report.notes.map((note) => `note: ${note}`)] : []),
    "",
  ].join("\n");
}

/** Text in columns: the first one left, the others right. */
export function alignColumns(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  const pad = (text: string, column: number) =>
    column === 0 ? text.padEnd(widths[0] ?? 0) : text.padStart(widths[column] ?? 0);
  return rows.map((row) => row.map(pad).join("  ").trimEnd()).join("\n");
}

function rateSpread(samples: readonly Sample[]): Spread {
  const { median, min, max } = spreadOf(samples.map(megabytesPerSecond));
  return { median: roundTo(median, 1), min: roundTo(min, 1), max: roundTo(max, 1) };
}

function computeRatios(spreads: ReadonlyMap<MeasurementName, Spread>): Ratios {
  const ratios: Ratios = {};
  for (const [name, [measured, limits]] of Object.entries(ratioParts)) {
    const value = spreads.get(measured)?.median;
    const limit = Math.min(...limits.map((limit) => spreads.get(limit)?.median ?? Number.NaN));
    if (value !== undefined && limit > 0) ratios[name as keyof typeof ratioParts] = roundTo(value / limit, 3);
  }
  return ratios;
}

function cpuEntry(name: MeasurementName, samples: readonly Sample[]): [MeasurementName, number][] {
  const values = samples.flatMap(({ cpuSeconds, bytes }) =>
    cpuSeconds === undefined ? [] : [cpuSeconds / (bytes / 1e9)],
  );
  return values.length === 0 ? [] : [[name, roundTo(spreadOf(values).median, 2)]];
}

function compareWithReference(spreads: ReadonlyMap<MeasurementName, Spread>): string[] {
  return Object.entries(reference).flatMap(([name, expected]) => {
    const spread = spreads.get(name as MeasurementName);
    if (spread === undefined || spread.median >= expected * referenceShareMin) return [];
    const found = `${name}: ${spread.median.toFixed(0)} MB/s, ${((spread.median / expected) * 100).toFixed(0)} % of the`;
    return [`${found} reference ${expected}: this machine is slower, or busy with something else`];
  });
}
