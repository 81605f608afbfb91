/**
 * Metrics by OpenTelemetry.
 *
 * Counters are plain numbers that are read when metrics are collected, so that counting costs an addition; so are
 * histograms (histograms.ts).
 *
 * Invariants: each counter's cell is made once for each set of attributes; at most `namedMax` streams have a name.
 */
import type { Meter, Observable, ObservableResult } from "@opentelemetry/api";
import { type Attributes, type Counter, metrics, type Metric, type MetricName } from "../telemetry.ts";
import type { CounterName, ObservedName, Report, Telemetry } from "../telemetry.ts";
import { keyOf } from "./attributes-key.ts";
import type { Histograms } from "./histograms.ts";

/** What stands for all streams beyond the limit of those that are named. */
export const otherStreams = "(other)";

interface Cell extends Counter {
  value: number;
  readonly values: Attributes;
}

/** What the metrics are told to. */
export interface MetricSinks {
  readonly meter: Meter;
  readonly histograms: Histograms;
}

/** Makes the metrics of the list. `namedMax`: how many streams are told of by name. */
export function createOtelMetrics({ meter, histograms }: MetricSinks, namedMax: number): Pick<Telemetry, MeteringKey> {
  const counters = new Map<MetricName, Map<string, Cell>>();
  const readers = new Map<MetricName, Set<(report: Report) => void>>();
  const named = new Set<string>();
  const entries = Object.entries(metrics) as [MetricName, Metric][];
  for (const [name, metric] of entries) {
    if (metric.kind === "histogram") continue;
    const instrument = createObservable(meter, name, metric);
    if (metric.kind === "counter") {
      const cells = new Map<string, Cell>();
      counters.set(name, cells);
      instrument.addCallback((result) => {
        for (const { value, values } of cells.values()) result.observe(value, values);
      });
    } else {
      const reads = new Set<(report: Report) => void>();
      readers.set(name, reads);
      instrument.addCallback((result) => readAll(reads, result));
    }
  }
  return {
    metering: true,
    counter: (name: CounterName, values: Attributes = {}) => cellOf(counters.get(name)!, values),
    histogram: (name, values = {}) => histograms.histogram(name, values),
    observe(name: ObservedName, read) {
      const reads = readers.get(name)!;
      reads.add(read);
      return () => void reads.delete(read);
    },
    streamName(name) {
      if (named.has(name)) return name;
      if (named.size >= namedMax) return otherStreams;
      named.add(name);
      return name;
    },
  };
}

type MeteringKey = "metering" | "counter" | "histogram" | "observe" | "streamName";

function createObservable(meter: Meter, name: MetricName, { kind, unit, description }: Metric): Observable {
  if (kind === "observedGauge") return meter.createObservableGauge(name, { unit, description });
  if (kind === "observedSum") return meter.createObservableUpDownCounter(name, { unit, description });
  return meter.createObservableCounter(name, { unit, description });
}

function readAll(reads: ReadonlySet<(report: Report) => void>, result: ObservableResult): void {
  for (const read of reads) read((value, values) => result.observe(value, values));
}

function cellOf(cells: Map<string, Cell>, values: Attributes): Counter {
  const key = keyOf(values);
  const known = cells.get(key);
  if (known !== undefined) return known;
  const cell: Cell = {
    value: 0,
    values,
    add(amount) {
      cell.value += amount;
    },
  };
  cells.set(key, cell);
  return cell;
}
