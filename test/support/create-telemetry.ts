import { AggregationTemporality, MeterProvider } from "@opentelemetry/sdk-metrics";
import {
  AlwaysOnSampler,
  InMemorySpanExporter,
  ParentBasedSampler,
  SimpleSpanProcessor,
  TracerProvider,
} from "@opentelemetry/sdk-trace";
import type { ReadableSpan, Sampler } from "@opentelemetry/sdk-trace";
import { systemClock } from "../../src/clock.ts";
import type { Attributes, MetricName, Telemetry } from "../../src/telemetry.ts";
import { createTelemetry } from "../../src/telemetry/create-telemetry.ts";
import { createEarlySampling } from "../../src/telemetry/early-sampling.ts";
import { forgetGauges } from "../../src/telemetry/forget-gauges.ts";
import { createHistograms } from "../../src/telemetry/histograms.ts";
import { TestReader } from "./test-reader.ts";

/** One series of a metric. A histogram's value is how many values it took. */
export interface Series {
  readonly attributes: Attributes;
  readonly value: number;
  /** The sum of a histogram's values. */
  readonly sum: number | undefined;
}

/** Telemetry whose metrics and spans a test can look at. */
export interface TestTelemetry {
  readonly telemetry: Telemetry;
  /** The spans that have ended. */
  readonly spans: readonly ReadableSpan[];
  /** All series of all metrics now, by the metric's name. */
  collect(): Promise<ReadonlyMap<MetricName, readonly Series[]>>;
}

/** What a test may say of it. */
export interface TelemetryOptions {
  readonly sampler?: Sampler;
  readonly streamsMax?: number;
}

/** Makes telemetry that stays in memory. Without a `sampler` whatever has no caller is recorded. */
export function createTestTelemetry({ sampler, streamsMax = 100 }: TelemetryOptions = {}): TestTelemetry {
  const exporter = new InMemorySpanExporter();
  const chosen = sampler ?? new ParentBasedSampler({ root: new AlwaysOnSampler() });
  const sampling = createEarlySampling(chosen);
  const tracers = new TracerProvider({
    sampler: chosen,
    idGenerator: sampling.ids,
    spanProcessors: [new SimpleSpanProcessor({ exporter })],
  });
  const histograms = createHistograms({ name: "test" }, systemClock);
  const metricProducers = [histograms.producer(AggregationTemporality.CUMULATIVE)];
  const reader = forgetGauges(new TestReader({ metricProducers }));
  const meters = new MeterProvider({ readers: [reader] });
  const traces = { tracer: tracers.getTracer("test"), sampling };
  const telemetry = createTelemetry({ metrics: { meter: meters.getMeter("test"), histograms }, traces, streamsMax });
  return {
    telemetry,
    get spans() {
      return exporter.getFinishedSpans();
    },
    async collect() {
      const { resourceMetrics, errors } = await reader.collect();
      if (errors.length > 0) throw errors[0];
      const metrics = resourceMetrics.scopeMetrics.flatMap((scope) => scope.metrics);
      return new Map(
        metrics.map(({ descriptor, dataPoints }) => [descriptor.name as MetricName, dataPoints.map(toSeries)]),
      );
    },
  };
}

/** The sum of a metric's series, of those that have these attributes. */
export function sumOf(series: readonly Series[] | undefined, attributes: Attributes = {}): number {
  const matching = (series ?? []).filter((one) =>
    Object.entries(attributes).every(([name, value]) => one.attributes[name] === value),
  );
  return matching.reduce((sum, { value }) => sum + value, 0);
}

function toSeries({ attributes, value }: { attributes: object; value: unknown }): Series {
  const values = attributes as Attributes;
  if (typeof value === "number") return { attributes: values, value, sum: undefined };
  const { count, sum } = value as { count: number; sum?: number };
  return { attributes: values, value: count, sum };
}
