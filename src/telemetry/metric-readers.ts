/**
 * Metric readers by the standard variables: OTEL_METRICS_EXPORTER (`otlp` where it is not set, `prometheus`, `console`;
 * several by comma), OTEL_EXPORTER_OTLP_PROTOCOL and its per-signal form, OTEL_METRIC_EXPORT_INTERVAL and _TIMEOUT,
 * OTEL_EXPORTER_PROMETHEUS_HOST and _PORT. What the exporters send to, and with what headers, they read themselves.
 */
import {
  AggregationTemporality,
  ConsoleMetricExporter,
  InstrumentType,
  PeriodicExportingMetricReader,
} from "@opentelemetry/sdk-metrics";
import type { IMetricReader, PushMetricExporter } from "@opentelemetry/sdk-metrics";
import { forgetGauges } from "./forget-gauges.ts";
import type { Histograms } from "./histograms.ts";
import { createPrometheusExporter } from "./prometheus-exporter.ts";
import {
  type Environment,
  readList,
  readNumber,
  readProtocol,
  unknownProtocol,
  unknownValue,
} from "./read-variables.ts";

// The defaults of the specification.
const intervalMsDefault = 60_000;
const timeoutMsDefault = 30_000;

/**
 * Makes the readers that `environment` asks for, which tell of `histograms` too. Throws `invalid` for an exporter or a
 * protocol that there is not.
 */
export async function createMetricReaders(environment: Environment, histograms: Histograms): Promise<IMetricReader[]> {
  const names = readList(environment, "OTEL_METRICS_EXPORTER");
  if (names.size === 0) names.add("otlp");
  return Promise.all([...names].map((name) => createReader(name, environment, histograms)));
}

async function createReader(name: string, environment: Environment, histograms: Histograms): Promise<IMetricReader> {
  switch (name) {
    case "otlp":
      return createPeriodicReader(await createOtlpExporter(environment), environment, histograms);
    case "console":
      return createPeriodicReader(new ConsoleMetricExporter(), environment, histograms);
    case "prometheus": {
      const host = environment["OTEL_EXPORTER_PROMETHEUS_HOST"];
      const port = readNumber(environment, "OTEL_EXPORTER_PROMETHEUS_PORT");
      const place = { ...(host === undefined ? {} : { host }), ...(port === undefined ? {} : { port }) };
      const exporter = createPrometheusExporter(histograms, place);
      await exporter.startServer();
      return exporter;
    }
    default:
      throw unknownValue("OTEL_METRICS_EXPORTER", name, "otlp, prometheus, console or none");
  }
}

function createPeriodicReader(
  exporter: PushMetricExporter,
  environment: Environment,
  histograms: Histograms,
): IMetricReader {
  const exportIntervalMillis = readNumber(environment, "OTEL_METRIC_EXPORT_INTERVAL") ?? intervalMsDefault;
  const timeoutMs = readNumber(environment, "OTEL_METRIC_EXPORT_TIMEOUT") ?? timeoutMsDefault;
  const exportTimeoutMillis = Math.min(timeoutMs, exportIntervalMillis);
  const temporality = exporter.selectAggregationTemporality?.(InstrumentType.HISTOGRAM);
  const metricProducers = [histograms.producer(temporality ?? AggregationTemporality.CUMULATIVE)];
  const options = { exporter, exportIntervalMillis, exportTimeoutMillis, metricProducers };
  return forgetGauges(new PeriodicExportingMetricReader(options));
}

async function createOtlpExporter(environment: Environment): Promise<PushMetricExporter> {
  const protocol = readProtocol(environment, "METRICS");
  switch (protocol) {
    case "grpc":
      return new (await import("@opentelemetry/exporter-metrics-otlp-grpc")).OTLPMetricExporter();
    case "http/protobuf":
      return new (await import("@opentelemetry/exporter-metrics-otlp-proto")).OTLPMetricExporter();
    case "http/json":
      return new (await import("@opentelemetry/exporter-metrics-otlp-http")).OTLPMetricExporter();
    default:
      throw unknownProtocol(protocol);
  }
}
