/**
 * Loads OpenTelemetry's SDK and sets it up by the standard variables. The one module that does: it is imported only
 * where telemetry is asked for, and loads only the exporters that are.
 */
import { diag, DiagLogLevel } from "@opentelemetry/api";
import { type PrometheusExporter, PrometheusSerializer } from "@opentelemetry/exporter-prometheus";
import type { Resource } from "@opentelemetry/resources";
import { type IMetricReader, MeterProvider } from "@opentelemetry/sdk-metrics";
import { TracerProvider } from "@opentelemetry/sdk-trace";
import { type Clock, sleep } from "../clock.ts";
import type { Log } from "../log.ts";
import type { Telemetry } from "../telemetry.ts";
import { readAskedSignals } from "./asked-signals.ts";
import { createResource } from "./create-resource.ts";
import { createTelemetry } from "./create-telemetry.ts";
import { createEarlySampling } from "./early-sampling.ts";
import { createHistograms } from "./histograms.ts";
import { createMetricReaders } from "./metric-readers.ts";
import { createPrometheusExporter } from "./prometheus-exporter.ts";
import { observeRuntime } from "./runtime-metrics.ts";
import type { Environment } from "./read-variables.ts";
import { createSampler, createSpanProcessors, readSpanLimits } from "./span-processors.ts";

/** What is to be loaded. */
export interface LoadOptions {
  readonly environment: Environment;
  readonly clock: Clock;
  readonly log: Log;
  /** The vault's version. */
  readonly version: string;
  /** Whether metrics are asked for by HTTP: then there are some, whatever the variables say. */
  readonly scraped: boolean;
  /** How many streams are told of by name. */
  readonly streamsMax: number;
}

/** Telemetry that goes somewhere. */
export interface LoadedTelemetry {
  readonly telemetry: Telemetry;
  /** The metrics now, as text for Prometheus; undefined where they are not scraped. */
  readonly scrape: (() => Promise<string>) | undefined;
  /** Sends what has not been sent yet, and ends. Resolves also where nobody takes it. */
  close(): Promise<void>;
}

/** How long what is left may take to be sent at the end. */
const closeMsMax = 5000;

const scopeName = "message-vault";

/** Sets OpenTelemetry up. Once a process. Throws `invalid` where a variable has a value that it may not have. */
export async function loadTelemetry(options: LoadOptions): Promise<LoadedTelemetry> {
  const { environment, clock, log, scraped, version, streamsMax } = options;
  const asked = readAskedSignals(environment);
  const scope = { name: scopeName, version };
  const histograms = createHistograms(scope, clock);
  const scraper = scraped ? createPrometheusExporter(histograms) : undefined;
  const readers: IMetricReader[] = asked.metrics ? await createMetricReaders(environment, histograms) : [];
  if (scraper !== undefined) readers.push(scraper);
  listenToSdk(log, environment);
  const resource = createResource(environment, scopeName, version);
  const meters = readers.length === 0 ? undefined : new MeterProvider({ resource, readers });
  const traces = asked.traces ? await createTraces(environment, resource) : undefined;
  const telemetry = createTelemetry({
    metrics: meters && { meter: meters.getMeter(scopeName, version), histograms },
    traces: traces && { tracer: traces.provider.getTracer(scopeName, version), sampling: traces.sampling },
    streamsMax,
  });
  const endRuntime = telemetry.metering ? observeRuntime(telemetry) : () => undefined;
  return {
    telemetry,
    scrape: scraper === undefined ? undefined : () => scrape(scraper),
    async close() {
      endRuntime();
      const sent = Promise.all([traces?.provider.shutdown(), meters?.shutdown()]).catch((error: unknown) =>
        log.warn("telemetry was not sent", { error }),
      );
      const enough = new AbortController();
      await Promise.race([sent, sleep(clock, closeMsMax, enough.signal)]);
      enough.abort();
      diag.disable();
    },
  };
}

async function scrape(scraper: PrometheusExporter): Promise<string> {
  const { resourceMetrics, errors } = await scraper.collect();
  if (errors.length > 0) throw errors[0];
  await resourceMetrics.resource.waitForAsyncAttributes?.();
  return new PrometheusSerializer("", false, undefined, false, true).serialize(resourceMetrics);
}

async function createTraces(environment: Environment, resource: Resource) {
  const sampler = createSampler(environment);
  const sampling = createEarlySampling(sampler);
  const provider = new TracerProvider({
    resource,
    sampler,
    idGenerator: sampling.ids,
    spanLimits: readSpanLimits(environment),
    spanProcessors: await createSpanProcessors(environment),
  });
  return { provider, sampling };
}

/** What the SDK has to say goes to the vault's log: on the console it would mix with what others read there. */
function listenToSdk(log: Log, environment: Environment): void {
  const tell = (level: "debug" | "warn" | "error") => (message: string) => log[level]("telemetry", { message });
  const quiet = tell("debug");
  const logger = { error: tell("error"), warn: tell("warn"), info: quiet, debug: quiet, verbose: quiet };
  const level = (environment["OTEL_LOG_LEVEL"] ?? "").trim().toUpperCase();
  const logLevel = DiagLogLevel[level as keyof typeof DiagLogLevel] ?? DiagLogLevel.INFO;
  diag.setLogger(logger, { logLevel, suppressOverrideMessage: true });
}
