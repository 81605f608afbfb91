import type { FigureName, Figures, SeriesTable } from "../../bench/measurement.ts";
import { reportRun } from "../../bench/report.ts";
import type { BenchReport } from "../../bench/report.ts";
import { chooseSettings } from "../../bench/settings.ts";

/** By measurement and figure, the value of each round. */
export type Rounds = Readonly<Record<string, Readonly<Partial<Record<FigureName, readonly number[]>>>>>;

/** Makes the report of a run of the bench that measured these values. */
export function createReport(rounds: Rounds, series: SeriesTable = {}): BenchReport {
  const samples = new Map(Object.entries(rounds).map(([name, figures]) => [name, toSamples(figures)]));
  const settings = chooseSettings({ rounds: 5, seconds: 1, bytes: 1e6, records: 1e6 });
  return reportRun({ samples, series, notes: [] }, settings, []);
}

function toSamples(figures: Rounds[string]): Figures[] {
  const entries = Object.entries(figures);
  const count = Math.max(...entries.map(([, values]) => values.length));
  return Array.from({ length: count }, (_, round) =>
    Object.fromEntries(entries.map(([name, values]) => [name, values[round]])),
  );
}
