/**
 * Loads OpenTelemetry's SDK and sets it up by the standard variables. The one module that does: it is imported only
 * where telemetry is asked for, as loading takes some tenths of a second and tens of megabytes.
 */
import { diag, DiagLogLevel, metrics, trace } from "@opentelemetry/api";
import { type PrometheusExporter, PrometheusSerializer } from "@opentelemetry/exporter-prometheus";
import { NodeSDK } from "@opentelemetry/sdk-node";
import { type Clock, sleep } from "../clock.ts";
import type { Log } from "../log.ts";
import type { Telemetry } from "../telemetry.ts";
import { readAskedSignals } from "./asked-signals.ts";
import { createTelemetry } from "./create-telemetry.ts";
import { createMetricReaders } from "./metric-readers.ts";
import { createPrometheusExporter } from "./prometheus-exporter.ts";
import { observeRuntime } from "./runtime-metrics.ts";

/** What is to be loaded. */
export interface LoadOptions {
  readonly environment: Readonly<Record<string, string | undefined>>;
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
  const scraper = scraped ? createPrometheusExporter() : undefined;
  const readers = asked.metrics ? await createMetricReaders(environment) : [];
  describeResource(process.env, version);
  listenToSdk(log, process.env);
  const sdk = new NodeSDK({
    metricReaders: scraper === undefined ? readers : [...readers, scraper],
    ...(asked.traces ? {} : { spanProcessors: [] }),
    logRecordProcessors: [],
    // Nothing but the vault itself is traced, and it passes contexts on by itself.
    textMapPropagator: null,
  });
  sdk.start();
  const metered = asked.metrics || scraped;
  const telemetry = createTelemetry({
    meter: metered ? metrics.getMeter(scopeName, version) : undefined,
    tracer: asked.traces ? trace.getTracer(scopeName, version) : undefined,
    streamsMax,
  });
  const endRuntime = metered ? observeRuntime(telemetry) : () => undefined;
  return {
    telemetry,
    scrape: scraper === undefined ? undefined : () => scrape(scraper),
    async close() {
      endRuntime();
      const sent = sdk.shutdown().catch((error: unknown) => log.warn("telemetry was not sent", { error }));
      const enough = new AbortController();
      await Promise.race([sent, sleep(clock, closeMsMax, enough.signal)]);
      enough.abort();
      for (const api of [trace, metrics, diag]) api.disable();
    },
  };
}

async function scrape(scraper: PrometheusExporter): Promise<string> {
  const { resourceMetrics, errors } = await scraper.collect();
  if (errors.length > 0) throw errors[0];
  await resourceMetrics.resource.waitForAsyncAttributes?.();
  return new PrometheusSerializer("", false, undefined, false, true).serialize(resourceMetrics);
}

/**
 * Says who this is, in the variables that the SDK reads: what the user says of it goes before. The detector of the
 * process is left out whatever they say, as it tells the command line, which may hold the storage's key.
 */
function describeResource(environment: NodeJS.ProcessEnv, version: string): void {
  const { OTEL_RESOURCE_ATTRIBUTES: given = "", OTEL_NODE_RESOURCE_DETECTORS: detectors = "all" } = environment;
  const own = `service.name=${scopeName},service.version=${version}`;
  environment["OTEL_RESOURCE_ATTRIBUTES"] = given.trim() === "" ? own : `${own},${given}`;
  const named = detectors.split(",").map((name) => name.trim());
  const wanted = named.includes("all") ? safeDetectors : named.filter((name) => name !== "process");
  environment["OTEL_NODE_RESOURCE_DETECTORS"] = wanted.length === 0 ? "none" : wanted.join(",");
}

const safeDetectors = ["env", "host", "os", "serviceinstance"];

/**
 * What the SDK has to say goes to the vault's log: on the console it would mix with what others read there. Where
 * OTEL_LOG_LEVEL is set the SDK would write to the console all the same, so that it is taken away.
 */
function listenToSdk(log: Log, environment: NodeJS.ProcessEnv): void {
  const tell = (level: "debug" | "warn" | "error") => (message: string) => log[level]("telemetry", { message });
  const quiet = tell("debug");
  const logger = { error: tell("error"), warn: tell("warn"), info: quiet, debug: quiet, verbose: quiet };
  const level = (environment["OTEL_LOG_LEVEL"] ?? "").trim().toUpperCase();
  const logLevel = DiagLogLevel[level as keyof typeof DiagLogLevel] ?? DiagLogLevel.INFO;
  delete environment["OTEL_LOG_LEVEL"];
  diag.setLogger(logger, { logLevel, suppressOverrideMessage: true });
}
