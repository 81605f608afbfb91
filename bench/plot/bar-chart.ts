import { formatTick, linearScale } from "./scale.ts";
import { element, line, picture, type Svg, text } from "./svg.ts";

/** A bar. */
export interface BarRow {
  readonly label: string;
  readonly value: number;
  /** The quartiles, drawn as a whisker. */
  readonly q1: number;
  readonly q3: number;
  readonly color: string;
  /** Where a mark is set, and what it means. */
  readonly target?: { readonly value: number; readonly label: string };
}

/** Bars that belong together. */
export interface BarGroup {
  readonly rows: readonly BarRow[];
}

const width = 860;
const left = 220;
const right = 150;
const top = 40;
const rowHeight = 20;
const groupGap = 10;
const footer = 48;

/** A picture of lying bars with their values and quartiles. `axis` names the unit. */
export function drawBarChart(title: string, axis: string, groups: readonly BarGroup[]): string {
  const rows = groups.flatMap(({ rows }) => rows);
  const bottom = top + rows.length * rowHeight + groups.length * groupGap;
  const max = Math.max(...rows.flatMap(({ value, q3, target }) => [value, q3, target?.value ?? 0]));
  const scale = linearScale(max, left, width - right);
  const grid = scale.ticks.flatMap((tick) => [
    line(scale.place(tick), top, scale.place(tick), bottom, "#ddd"),
    text(scale.place(tick), bottom + 16, formatTick(tick), "middle"),
  ]);
  const bars: Svg[] = [];
  let y = top + groupGap / 2;
  for (const { rows } of groups) {
    for (const row of rows) {
      bars.push(...drawRow(row, y, scale.place));
      y += rowHeight;
    }
    y += groupGap;
  }
  const unit = text((left + width - right) / 2, bottom + 36, axis, "middle");
  return picture(width, bottom + footer, title, ...grid, ...bars, unit);
}

function drawRow({ label, value, q1, q3, color, target }: BarRow, y: number, place: (value: number) => number): Svg[] {
  const middle = y + rowHeight / 2;
  const end = place(value);
  const shown = value >= 100 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(3)));
  return [
    text(left - 8, middle + 4, label, "end"),
    element("rect", { x: place(0), y: y + 3, width: Math.max(0, end - place(0)), height: rowHeight - 6, fill: color }),
    line(place(q1), middle, place(q3), middle, "#222", { "stroke-width": 1.5 }),
    ...[q1, q3].map((at) => line(place(at), middle - 3, place(at), middle + 3, "#222", { "stroke-width": 1.5 })),
    ...(target === undefined
      ? []
      : [line(place(target.value), y, place(target.value), y + rowHeight, "#d62728", { "stroke-width": 2.5 })]),
    text(width - right + 10, middle + 4, target === undefined ? shown : `${shown}  (${target.label})`, "start"),
  ];
}
