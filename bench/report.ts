import type { BarResult, Samples } from "./bars.ts";
import { bars, judgeBar, valuesOf } from "./bars.ts";
import type { Machine } from "./machine.ts";
import { describeMachine } from "./machine.ts";
import type { BenchSettings, FigureName, SeriesTable } from "./measurement.ts";
import { figureUnits, labelFigure } from "./measurement.ts";
import type { RunResult } from "./run-rounds.ts";
import { roundTo, spreadOf } from "./statistics.ts";
import type { Spread } from "./statistics.ts";
import { alignColumns } from "./table.ts";

/** The figures of each measurement, over the rounds. */
export type FigureTable = Readonly<Record<string, Readonly<Partial<Record<FigureName, Spread>>>>>;

/** What a run of the bench comes to. */
export interface BenchReport {
  /** By the bars' names: the median of the rounds' ratios of the measured figure to its limit. */
  readonly ratios: Readonly<Record<string, number>>;
  /** By the bars' names: the absolute figures beside the ratios. */
  readonly limits: Readonly<Record<string, LimitReport>>;
  /** By measurement and figure. */
  readonly figures: FigureTable;
  /** How something went along a long measurement: points of x and y by the name of what went. */
  readonly series: SeriesTable;
  readonly notes: readonly string[];
  readonly settings: BenchSettings;
  readonly machine: Machine;
  readonly date: string;
  readonly command: string;
}

/** A bar's absolute figures. */
export type LimitReport = Omit<BarResult, "name">;

/** Sums a run up. */
export function reportRun(
  { samples, series, notes }: RunResult,
  settings: BenchSettings,
  args: readonly string[],
): BenchReport {
  const results = bars.flatMap((bar) => judgeBar(bar, samples) ?? []);
  return {
    ratios: Object.fromEntries(results.map(({ name, ratio }) => [name, roundTo(ratio.median, 3)])),
    limits: Object.fromEntries(results.map(({ name, ...rest }) => [name, roundLimit(rest)])),
    figures: Object.fromEntries([...samples.keys()].map((name) => [name, tabulate(samples, name)])),
    series,
    notes,
    settings,
    machine: describeMachine(),
    date: new Date().toISOString(),
    command: ["npm run bench --", ...args].join(" "),
  };
}

function roundLimit(limit: LimitReport): LimitReport {
  return {
    ...limit,
    ratio: roundSpread(limit.ratio),
    measured: roundTo(limit.measured, 4),
    limit: roundTo(limit.limit, 4),
  };
}

function tabulate(samples: Samples, measurement: string): Partial<Record<FigureName, Spread>> {
  const names = Object.keys(figureUnits) as FigureName[];
  const entries = names.map((figure) => [figure, valuesOf(samples, measurement, figure)] as const);
  const measured = entries.filter(([, values]) => values.length > 0);
  return Object.fromEntries(measured.map(([figure, values]) => [figure, roundSpread(spreadOf(values))]));
}

function roundSpread(spread: Spread): Spread {
  const { median, q1, q3, min, max, count } = spread;
  const [a, b, c, d, e] = [median, q1, q3, min, max].map((value) => roundTo(value, 4)) as [
    number,
    number,
    number,
    number,
    number,
  ];
  return { median: a, q1: b, q3: c, min: d, max: e, count };
}

/** The report as tables. */
export function formatReport(report: BenchReport): string {
  const { machine, settings, figures, limits, notes } = report;
  const rows = Object.entries(figures).flatMap(([name, table]) =>
    Object.entries(table).map(([figure, { median, q1, q3 }]) => {
      return [name, labelFigure(figure as FigureName), shown(median), `${shown(q1)} – ${shown(q3)}`];
    }),
  );
  const ratios = Object.entries(limits).map(
    ([name, { ratio, target, atLeast, met, measured, limit, limitName, unit }]) => [
      name,
      ratio.median.toFixed(2),
      `${ratio.q1.toFixed(2)} – ${ratio.q3.toFixed(2)}`,
      `${atLeast ? "≥" : "≤"} ${target.toFixed(2)}`,
      met ? "met" : "missed",
      `${shown(measured)} of ${shown(limit)} ${unit}, ${limitName}`,
    ],
  );
  return [
    `${machine.cpu}, ${machine.cores} cores, ${machine.system}, Node ${machine.node}, commit ${machine.commit}`,
    `The median of ${settings.rounds} rounds (of one where it takes long), and the quartiles, between which half of them lie`,
    "",
    alignColumns([["measurement", "figure", "median", "quartiles"], ...rows], 2),
    ...(ratios.length === 0
      ? []
      : ["", alignColumns([["bar", "ratio", "quartiles", "target", "", "figures"], ...ratios])]),
    ...(notes.length === 0 ? [] : ["", ...notes.map((note) => `note: ${note}`)]),
    "",
  ].join("\n");
}

/** A figure in as many digits as mean something. */
function shown(value: number): string {
  return Math.abs(value) >= 100 ? Math.round(value).toLocaleString("en") : String(roundTo(value, 3));
}
