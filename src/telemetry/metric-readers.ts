/**
 * Metric readers by the standard variables: OTEL_METRICS_EXPORTER (`otlp` where it is not set, `prometheus`, `console`;
 * several by comma), OTEL_EXPORTER_OTLP_PROTOCOL and its per-signal form, OTEL_METRIC_EXPORT_INTERVAL and _TIMEOUT,
 * OTEL_EXPORTER_PROMETHEUS_HOST and _PORT. What the exporters send to, and with what headers, they read themselves.
 *
 * The SDK reads the same, but takes either its own readers or ours, and a vault that is scraped needs both.
 */
import { ConsoleMetricExporter, PeriodicExportingMetricReader } from "@opentelemetry/sdk-metrics";
import type { IMetricReader, PushMetricExporter } from "@opentelemetry/sdk-metrics";
import { VaultError } from "../errors.ts";
import { createPrometheusExporter } from "./prometheus-exporter.ts";

type Environment = Readonly<Record<string, string | undefined>>;

// The defaults of the specification.
const intervalMsDefault = 60_000;
const timeoutMsDefault = 30_000;

/** Makes the readers that `environment` asks for. Throws `invalid` for an exporter or a protocol that there is not. */
export async function createMetricReaders(environment: Environment): Promise<IMetricReader[]> {
  const named = (environment["OTEL_METRICS_EXPORTER"] ?? "").split(",").map((name) => name.trim());
  const names = new Set(named.filter((name) => name !== ""));
  if (names.size === 0) names.add("otlp");
  return Promise.all([...names].map((name) => createReader(name, environment)));
}

async function createReader(name: string, environment: Environment): Promise<IMetricReader> {
  switch (name) {
    case "otlp":
      return createPeriodicReader(await createOtlpExporter(environment), environment);
    case "console":
      return createPeriodicReader(new ConsoleMetricExporter(), environment);
    case "prometheus": {
      const host = environment["OTEL_EXPORTER_PROMETHEUS_HOST"];
      const port = readNumber(environment, "OTEL_EXPORTER_PROMETHEUS_PORT");
      const place = { ...(host === undefined ? {} : { host }), ...(port === undefined ? {} : { port }) };
      const exporter = createPrometheusExporter(place);
      await exporter.startServer();
      return exporter;
    }
    default:
      throw unknownValue("OTEL_METRICS_EXPORTER", name, "otlp, prometheus, console or none");
  }
}

function createPeriodicReader(exporter: PushMetricExporter, environment: Environment): IMetricReader {
  const exportIntervalMillis = readNumber(environment, "OTEL_METRIC_EXPORT_INTERVAL") ?? intervalMsDefault;
  const timeoutMs = readNumber(environment, "OTEL_METRIC_EXPORT_TIMEOUT") ?? timeoutMsDefault;
  const exportTimeoutMillis = Math.min(timeoutMs, exportIntervalMillis);
  return new PeriodicExportingMetricReader({ exporter, exportIntervalMillis, exportTimeoutMillis });
}

async function createOtlpExporter(environment: Environment): Promise<PushMetricExporter> {
  const own = environment["OTEL_EXPORTER_OTLP_METRICS_PROTOCOL"];
  const protocol = (own ?? environment["OTEL_EXPORTER_OTLP_PROTOCOL"] ?? "").trim() || "http/protobuf";
  switch (protocol) {
    case "grpc":
      return new (await import("@opentelemetry/exporter-metrics-otlp-grpc")).OTLPMetricExporter();
    case "http/protobuf":
      return new (await import("@opentelemetry/exporter-metrics-otlp-proto")).OTLPMetricExporter();
    case "http/json":
      return new (await import("@opentelemetry/exporter-metrics-otlp-http")).OTLPMetricExporter();
    default:
      throw unknownValue("OTEL_EXPORTER_OTLP_PROTOCOL", protocol, "grpc, http/protobuf or http/json");
  }
}

function readNumber(environment: Environment, name: string): number | undefined {
  const value = Number(environment[name]?.trim() || Number.NaN);
  return Number.isFinite(value) && value > 0 ? value : undefined;
}

function unknownValue(name: string, value: string, allowed: string): VaultError {
  return new VaultError("invalid", `${name}: ${JSON.stringify(value)} is not allowed; it must be ${allowed}`);
}
