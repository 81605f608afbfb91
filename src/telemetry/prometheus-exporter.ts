/**
 * Prometheus' names of metrics. OpenTelemetry's rules put the unit behind the name, as its Collector and Prometheus' own
 * OTLP receiver do; its JavaScript exporter does not, so that one dashboard would not do for both.
 * [opentelemetry.io: Prometheus and OpenMetrics Compatibility, OTLP metric points to Prometheus]
 */
import { PrometheusExporter } from "@opentelemetry/exporter-prometheus";
import { AggregationTemporality, type ResourceMetrics } from "@opentelemetry/sdk-metrics";
import { type Metric, metrics } from "../telemetry.ts";
import { forgetGauges } from "./forget-gauges.ts";
import type { Histograms } from "./histograms.ts";

const unitNames: Readonly<Record<string, string>> = { s: "seconds", By: "bytes" };

/** The name of a metric of the list in Prometheus; a histogram's series have `_bucket`, `_sum`, `_count` behind it. */
export function toPrometheusName(name: string, { kind, unit }: Pick<Metric, "kind" | "unit">): string {
  const base = withSuffix(
    name.replace(/\W/g, "_"),
    unit === "1" && kind === "observedGauge" ? "ratio" : unitNames[unit],
  );
  return kind === "counter" || kind === "observedCounter" ? withSuffix(base, "total") : base;
}

function withSuffix(name: string, suffix: string | undefined): string {
  return suffix === undefined || name.endsWith(`_${suffix}`) ? name : `${name}_${suffix}`;
}

/** Where an exporter listens, once it is started. */
export interface ExporterPlace {
  readonly host?: string;
  readonly port?: number;
}

/** Makes an exporter, not started, whose metrics have Prometheus' names, and which tells of `histograms` too. */
export function createPrometheusExporter(histograms: Histograms, place: ExporterPlace = {}): PrometheusExporter {
  const metricProducers = [histograms.producer(AggregationTemporality.CUMULATIVE)];
  const options = { ...place, metricProducers, withoutScopeInfo: true, preventServerStart: true };
  const exporter = forgetGauges(new PrometheusExporter(options));
  const collect = exporter.collect.bind(exporter);
  // Its own server collects by this method too.
  exporter.collect = async (options) => {
    const { resourceMetrics, errors } = await collect(options);
    return { resourceMetrics: rename(resourceMetrics), errors };
  };
  return exporter;
}

// What is not of the list keeps its name.
function rename(collected: ResourceMetrics): ResourceMetrics {
  const known: Readonly<Record<string, Metric>> = metrics;
  const scopeMetrics = collected.scopeMetrics.map((scope) => ({
    ...scope,
    metrics: scope.metrics.map((data) => {
      const metric = known[data.descriptor.name];
      if (metric === undefined) return data;
      return { ...data, descriptor: { ...data.descriptor, name: toPrometheusName(data.descriptor.name, metric) } };
    }),
  }));
  return { ...collected, scopeMetrics };
}
