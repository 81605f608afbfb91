/**
 * Histograms, counted here and handed to the SDK's readers when they collect.
 *
 * The SDK makes a text of all attributes for each value that is recorded, to find where it counts: with three of them
 * that took longer (3.8 µs) than anything else that is told of a call. Here the place is looked up once.
 *
 * Invariants: each histogram's cell is made once for each set of attributes, of which there are at most `seriesMax`; a
 * cell's `counts` has one for each bound, which its bucket includes, and one for what is above the last.
 */
import { type HrTime, ValueType } from "@opentelemetry/api";
import { emptyResource } from "@opentelemetry/resources";
import { AggregationTemporality, DataPointType } from "@opentelemetry/sdk-metrics";
import type { DataPoint, Histogram as Counted, MetricData, MetricProducer } from "@opentelemetry/sdk-metrics";
import type { Clock } from "../clock.ts";
import { type Attributes, type Histogram, type HistogramName, metrics } from "../telemetry.ts";
import { keyOf } from "./attributes-key.ts";

interface Cell extends Histogram {
  readonly values: Attributes;
  readonly counts: number[];
  sum: number;
  min: number;
  max: number;
}

/** What a reader was told of a cell last. */
interface Told {
  readonly counts: readonly number[];
  readonly sum: number;
}

/** The histograms of a process. */
export interface Histograms {
  /** The histogram of this name for what has these attributes. */
  histogram(name: HistogramName, values: Attributes): Histogram;
  /** Makes what a reader collects them from: all that was recorded, or what was recorded since it collected last. */
  producer(temporality: AggregationTemporality): MetricProducer;
}

/** As many sets of attributes a histogram may have, with the one that stands for all others: the SDK's limit and name. */
const seriesMax = 2000;
const overflow: Attributes = { "otel.metric.overflow": true };

/** Makes the histograms of a scope: the vault's name and version. */
export function createHistograms(
  scope: { readonly name: string; readonly version?: string },
  clock: Pick<Clock, "now">,
): Histograms {
  const cells = new Map<HistogramName, Map<string, Cell>>();
  const now = () => toHrTime(clock.now());
  const startTime = now();

  function cellOf(name: HistogramName, values: Attributes): Cell {
    const ofName = cells.get(name) ?? new Map<string, Cell>();
    cells.set(name, ofName);
    const key = keyOf(values);
    const known = ofName.get(key);
    if (known !== undefined) return known;
    if (ofName.size >= seriesMax - 1 && values !== overflow) return cellOf(name, overflow);
    const cell = createCell(boundsOf(name), values);
    ofName.set(key, cell);
    return cell;
  }

  return {
    histogram: cellOf,
    producer(aggregationTemporality) {
      const before = aggregationTemporality === AggregationTemporality.DELTA ? new Map<Cell, Told>() : undefined;
      let since = startTime;
      return {
        collect() {
          const endTime = now();
          const collected = [...cells].map(([name, ofName]): MetricData => {
            const { unit, description } = metrics[name];
            const points = [...ofName.values()].map((cell) => pointOf(name, cell, before, since, endTime));
            const dataPoints = points.filter((point) => point.value.count > 0);
            const descriptor = { name, unit, description, valueType: ValueType.DOUBLE };
            return { descriptor, aggregationTemporality, dataPointType: DataPointType.HISTOGRAM, dataPoints };
          });
          if (before !== undefined) since = endTime;
          const told = collected.filter(({ dataPoints }) => dataPoints.length > 0);
          const scopeMetrics = told.length > 0 ? [{ scope, metrics: told }] : [];
          return Promise.resolve({ resourceMetrics: { resource: emptyResource(), scopeMetrics }, errors: [] });
        },
      };
    },
  };
}

function createCell(bounds: readonly number[], values: Attributes): Cell {
  const counts = [...bounds, Infinity].map(() => 0);
  const cell: Cell = {
    values,
    counts,
    sum: 0,
    min: Infinity,
    max: -Infinity,
    record(value) {
      if (Number.isNaN(value)) return;
      let bucket = 0;
      while (bucket < bounds.length && value > bounds[bucket]!) bucket++;
      counts[bucket]!++;
      cell.sum += value;
      if (value < cell.min) cell.min = value;
      if (value > cell.max) cell.max = value;
    },
  };
  return cell;
}

/** The least and the most are told of all that was recorded only: of what came since they are not kept. */
function pointOf(
  name: HistogramName,
  cell: Cell,
  told: Map<Cell, Told> | undefined,
  startTime: HrTime,
  endTime: HrTime,
): DataPoint<Counted> {
  const before = told?.get(cell);
  const counts = cell.counts.map((count, i) => count - (before?.counts[i] ?? 0));
  const sum = cell.sum - (before?.sum ?? 0);
  told?.set(cell, { counts: [...cell.counts], sum: cell.sum });
  const buckets = { boundaries: [...boundsOf(name)], counts };
  const count = counts.reduce((all, one) => all + one, 0);
  const range = told === undefined ? { min: cell.min, max: cell.max } : {};
  return { startTime, endTime, attributes: cell.values, value: { buckets, sum, count, ...range } };
}

function boundsOf(name: HistogramName): readonly number[] {
  return metrics[name].bounds ?? [];
}

function toHrTime(ms: number): HrTime {
  return [Math.floor(ms / 1000), (ms % 1000) * 1e6];
}
