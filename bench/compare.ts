/**
 * What changed against a stored report by more than the noise. The noise of a median of n rounds is taken from their
 * quartiles: ± 1.57 × (q3 − q1) / √n, about a 95 % interval for comparing two medians [McGill, Tukey, Larsen:
 * Variations of Box Plots, 1978]. Two medians differ where these intervals do not meet, and the medians are further
 * apart than runs of the same code are.
 */
import type { FigureName } from "./measurement.ts";
import { figureUnits, labelFigure } from "./measurement.ts";
import type { BenchReport } from "./report.ts";
import { roundTo } from "./statistics.ts";
import type { Spread } from "./statistics.ts";
import { alignColumns } from "./table.ts";

/** How far the medians of two runs of the same code may be apart, as a share: the rounds of one run do not show that. */
const runShareMin = 0.08;

/** What a report is compared with: an earlier one, without its remarks. */
export type Baseline = Omit<BenchReport, "notes">;

/** A figure that got better or worse by more than the noise. */
export interface Change {
  /** `ratio NAME` for a bar's ratio, else the measurement and its figure. */
  readonly what: string;
  readonly before: number;
  readonly after: number;
  /** After divided by before. */
  readonly factor: number;
  readonly verdict: "better" | "worse";
}

/** A report beside its baseline. */
export interface Comparison {
  readonly baselineCommit: string;
  readonly baselineDate: string;
  /** Whether the machines are alike, so that absolute figures were compared too, and not the ratios alone. */
  readonly sameMachine: boolean;
  readonly changes: readonly Change[];
  /** How many figures did not change by more than the noise. */
  readonly unchanged: number;
}

/** Compares what both have. */
export function compareWithBaseline(report: Baseline, baseline: Baseline): Comparison {
  const sameMachine = report.machine.cpu === baseline.machine.cpu && report.machine.cores === baseline.machine.cores;
  const pairs = [...pairRatios(report, baseline), ...(sameMachine ? pairFigures(report, baseline) : [])];
  const changes = pairs.flatMap(({ what, before, after, moreIsBetter }) => {
    if (!differ(before, after)) return [];
    const verdict = after.median > before.median === moreIsBetter ? ("better" as const) : ("worse" as const);
    const factor = roundTo(after.median / before.median, 3);
    return [{ what, before: before.median, after: after.median, factor, verdict }];
  });
  return {
    baselineCommit: baseline.machine.commit,
    baselineDate: baseline.date,
    sameMachine,
    changes,
    unchanged: pairs.length - changes.length,
  };
}

/** Whether two medians differ by more than the noise. */
export function differ(before: Spread, after: Spread): boolean {
  const apart = Math.abs(after.median - before.median);
  return apart > noiseOf(before) + noiseOf(after) && apart > runShareMin * Math.abs(before.median);
}

function noiseOf({ q1, q3, count }: Spread): number {
  return (1.57 * (q3 - q1)) / Math.sqrt(count);
}

interface Pair {
  readonly what: string;
  readonly before: Spread;
  readonly after: Spread;
  readonly moreIsBetter: boolean;
}

function pairRatios(report: Baseline, baseline: Baseline): Pair[] {
  return Object.entries(report.limits).flatMap(([name, { ratio: after, atLeast: moreIsBetter }]) => {
    const before = baseline.limits[name]?.ratio;
    return before === undefined ? [] : [{ what: `ratio ${name}`, before, after, moreIsBetter }];
  });
}

function pairFigures(report: Baseline, baseline: Baseline): Pair[] {
  return Object.entries(report.figures).flatMap(([measurement, table]) =>
    Object.entries(table).flatMap(([name, after]): Pair[] => {
      const figure = name as FigureName;
      const before = baseline.figures[measurement]?.[figure];
      if (before === undefined) return [];
      const { moreIsBetter } = figureUnits[figure];
      return [{ what: `${measurement}, ${labelFigure(figure)}`, before, after, moreIsBetter }];
    }),
  );
}

/** The comparison as text. */
export function formatComparison({
  baselineCommit,
  baselineDate,
  sameMachine,
  changes,
  unchanged,
}: Comparison): string {
  const than = `the baseline (commit ${baselineCommit}, ${baselineDate.slice(0, 10)})`;
  const scope = sameMachine ? "" : "; that was another machine, so ratios alone are compared";
  if (changes.length === 0)
    return `Nothing differs from ${than} by more than the noise, of ${unchanged} figures${scope}.\n`;
  const order = { worse: 0, better: 1 };
  const rows = changes
    .toSorted((a, b) => order[a.verdict] - order[b.verdict])
    .map(({ what, before, after, factor, verdict }) => {
      return [what, verdict, String(before), String(after), `${factor.toFixed(2)} ×`];
    });
  const head = `Differs from ${than} by more than the noise; ${unchanged} figures do not${scope}:`;
  return `${head}\n${alignColumns([["figure", "", "before", "after", "after/before"], ...rows])}\n`;
}
