/** Pictures of a report. One that has no figures for a picture gets none. */
import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { bars } from "./bars.ts";
import type { FigureName } from "./measurement.ts";
import { type BarGroup, type BarRow, drawBarChart } from "./plot/bar-chart.ts";
import { drawLineChart, type Series } from "./plot/line-chart.ts";
import type { BenchReport } from "./report.ts";

/** What pictures show of a report. */
export type Plotted = Pick<BenchReport, "limits" | "figures" | "series">;

const vaultColor = "#1f77b4";
const limitColor = "#b0b0b0";
const palette = ["#1f77b4", "#ff7f0e", "#2ca02c", "#9467bd"] as const;

/** Draws everything that the report has figures for, as SVG files in `directory`. Gives their names. */
export async function writePlots(report: Plotted, directory: string): Promise<string[]> {
  await mkdir(directory, { recursive: true });
  const plots = drawPlots(report);
  await Promise.all([...plots].map(([name, svg]) => writeFile(path.join(directory, name), svg)));
  return [...plots.keys()];
}

/** The pictures by the names of their files. */
export function drawPlots(report: Plotted): Map<string, string> {
  const drawn: Record<string, string | undefined> = {
    "bars.svg": drawBars(report),
    "throughput.svg": drawThroughput(report),
    "tail-latency.svg": drawTail(report),
    "fan-out.svg": drawFanOut(report),
    "publish-grid.svg": drawGrid(report),
    "scale.svg": drawScale(report),
  };
  return new Map(Object.entries(drawn).flatMap(([name, svg]) => (svg === undefined ? [] : [[name, svg] as const])));
}

function drawBars({ limits }: Plotted): string | undefined {
  const groups = Object.entries(limits).map(([label, { ratio, target, atLeast }]): BarGroup => {
    const { median: value, q1, q3 } = ratio;
    const mark = { value: target, label: `${atLeast ? "≥" : "≤"} ${target}` };
    return { rows: [{ label, value, q1, q3, color: vaultColor, target: mark }] };
  });
  if (groups.length === 0) return undefined;
  return drawBarChart("Bars: the vault's figure divided by its limit's (red: the target)", "ratio", groups);
}

function drawThroughput({ figures }: Plotted): string | undefined {
  const row = (name: string, color: string): BarRow[] => {
    const spread = figures[name]?.mbPerSecond;
    return spread === undefined ? [] : [{ label: name, value: spread.median, q1: spread.q1, q3: spread.q3, color }];
  };
  const groups = bars
    .filter(({ figure, limits }) => figure === "mbPerSecond" && limits.length > 0)
    .map(({ measured, limits }) => {
      return { rows: [...row(measured, vaultColor), ...limits.flatMap((name) => row(name, limitColor))] };
    })
    .filter(({ rows }) => rows.length > 0);
  if (groups.length === 0) return undefined;
  return drawBarChart("Throughput of the vault (blue) beside its limits (grey)", "MB/s", groups);
}

const percentiles = ["p50Ms", "p90Ms", "p99Ms", "p999Ms"] as const satisfies FigureName[];

function drawTail({ figures }: Plotted): string | undefined {
  const series = [1000, 50_000].flatMap((rate, index): Series[] => {
    const color = palette[index]!;
    const of = (name: string) =>
      percentiles.map((figure, at) => [at, figures[name]?.[figure]?.median ?? 0] as const).filter(([, y]) => y > 0);
    const label = `${rate.toLocaleString("en")} records/s`;
    return [
      { label: `vault, ${label}`, color, points: of(`tail_${rate}`) },
      { label: `limit, ${label}`, color, dashed: true, points: of(`raw_tail_${rate}`) },
    ].filter(({ points }) => points.length > 0);
  });
  if (series.length === 0) return undefined;
  const x = { label: "percentile", log: false, categories: ["50", "90", "99", "99.9"] };
  return drawLineChart("From scheduled to delivered at the tail", x, { label: "ms", log: true }, series);
}

function drawFanOut({ figures }: Plotted): string | undefined {
  const of = (prefix: string) =>
    [1, 100, 10_000]
      .map((count) => [count, figures[`${prefix}_${count}`]?.reachedAllMs?.median ?? 0] as const)
      .filter(([, y]) => y > 0);
  const series: Series[] = [
    { label: "vault", color: vaultColor, points: of("fanout") },
    { label: "bare server", color: vaultColor, dashed: true, points: of("bare_fanout") },
  ].filter(({ points }) => points.length > 0);
  if (series.length === 0) return undefined;
  const x = { label: "subscriptions of one stream", log: true };
  return drawLineChart("Until a record has reached all", x, { label: "ms", log: true }, series);
}

function drawGrid({ figures }: Plotted): string | undefined {
  const points = Object.entries(figures).flatMap(([name, { mbPerSecond }]) => {
    const [, server, size, batch] = /^(grid|grid_swallow)_(\d+)b_x(\d+)_p16_pipelined$/.exec(name) ?? [];
    if (server === undefined || mbPerSecond === undefined) return [];
    return [{ server, size: Number(size), batch: Number(batch), value: mbPerSecond.median }];
  });
  if (points.length === 0) return undefined;
  const sizes = [...new Set(points.map(({ size }) => size))];
  const series = sizes.flatMap((size, index): Series[] => {
    const color = palette[index % palette.length]!;
    const of = (server: string) =>
      points
        .filter((point) => point.server === server && point.size === size)
        .map(({ batch, value }) => [batch, value] as const);
    return [
      { label: `vault, ${size} B`, color, points: of("grid") },
      { label: `swallow, ${size} B`, color, dashed: true, points: of("grid_swallow") },
    ];
  });
  const x = { label: "records in a batch", log: true };
  return drawLineChart("Publish, 16 pipelined producers", x, { label: "MB/s", log: true }, series);
}

function drawScale({ series }: Plotted): string | undefined {
  const lines = Object.entries(series).map(([label, points], index): Series => {
    return { label, color: palette[index % palette.length]!, points };
  });
  if (lines.length === 0) return undefined;
  const x = { label: "records", log: false };
  return drawLineChart("Rate along a long stream", x, { label: "MB/s", log: false }, lines);
}
