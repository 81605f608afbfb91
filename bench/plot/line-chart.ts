import { formatTick, linearScale, logScale, type Scale } from "./scale.ts";
import { element, line, picture, type Svg, text } from "./svg.ts";

/** A line through points, in the order of their x. */
export interface Series {
  readonly label: string;
  readonly color: string;
  /** Whether it is a limit, which is drawn dashed. */
  readonly dashed?: boolean;
  readonly points: readonly (readonly [x: number, y: number])[];
}

/** An axis. */
export interface Axis {
  readonly label: string;
  readonly log: boolean;
  /** The marks of an axis that has only these, each with its text; they are evenly spaced, x counts them from 0. */
  readonly categories?: readonly string[];
}

const width = 860;
const height = 420;
const left = 70;
const right = 210;
const top = 44;
const bottom = height - 56;
const legendHeight = 18;

/** A picture of lines. Points whose value a logarithmic axis cannot show are left out. */
export function drawLineChart(title: string, xAxis: Axis, yAxis: Axis, series: readonly Series[]): string {
  const shown = series.map((one) => ({
    ...one,
    points: one.points.filter(([x, y]) => (!xAxis.log || x > 0) && (!yAxis.log || y > 0)),
  }));
  const points = shown.flatMap(({ points }) => points);
  const x = chooseScale(
    xAxis,
    points.map(([value]) => value),
    left,
    width - right,
  );
  const y = chooseScale(
    yAxis,
    points.map(([, value]) => value),
    bottom,
    top,
  );
  const formatX = (tick: number) => xAxis.categories?.[tick] ?? formatTick(tick);
  const grid = [
    ...y.ticks.flatMap((tick) => [
      line(left, y.place(tick), width - right, y.place(tick), "#ddd"),
      text(left - 8, y.place(tick) + 4, formatTick(tick), "end"),
    ]),
    ...x.ticks.flatMap((tick) => [
      line(x.place(tick), bottom, x.place(tick), bottom + 4, "#888"),
      text(x.place(tick), bottom + 18, formatX(tick), "middle"),
    ]),
    line(left, bottom, width - right, bottom, "#888"),
    text((left + width - right) / 2, bottom + 40, xAxis.label, "middle"),
    text(12, top - 6, yAxis.label, "start", { fill: "#555" }),
  ];
  const lines = shown.flatMap((one, index) => drawSeries(one, index, x, y));
  return picture(width, height, title, ...grid, ...lines);
}

function chooseScale({ log, categories }: Axis, values: readonly number[], from: number, to: number): Scale {
  if (categories !== undefined) {
    const step = (to - from) / Math.max(1, categories.length - 1);
    return { place: (index) => from + index * step, ticks: categories.map((_, index) => index) };
  }
  return log
    ? logScale(Math.min(...values), Math.max(...values), from, to)
    : linearScale(Math.max(...values), from, to);
}

function drawSeries({ label, color, dashed = false, points }: Series, index: number, x: Scale, y: Scale): Svg[] {
  const dash = dashed ? { "stroke-dasharray": "6 4" } : {};
  const places = points.map(([a, b]) => [x.place(a), y.place(b)] as const);
  const path = places.map(([a, b]) => `${a.toFixed(1)},${b.toFixed(1)}`).join(" ");
  const legendY = top + 8 + index * legendHeight;
  const legendX = width - right + 14;
  // So many points are a line by themselves.
  const dots = places.length > 40 ? [] : places.map(([cx, cy]) => element("circle", { cx, cy, r: 3, fill: color }));
  return [
    element("polyline", { points: path, fill: "none", stroke: color, "stroke-width": 2, ...dash }),
    ...dots,
    line(legendX, legendY, legendX + 22, legendY, color, { "stroke-width": 2, ...dash }),
    text(legendX + 28, legendY + 4, label, "start"),
  ];
}
