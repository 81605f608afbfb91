/**
 * Span processors, sampler and limits by the standard variables: OTEL_TRACES_EXPORTER (`otlp` where it is not set,
 * `console`; several by comma), OTEL_EXPORTER_OTLP_PROTOCOL and its per-signal form, OTEL_BSP_*, OTEL_TRACES_SAMPLER and
 * its argument, OTEL_SPAN_* and OTEL_ATTRIBUTE_* limits. What the exporters send to, and with what headers, they read
 * themselves.
 *
 * NodeSDK reads the same, but loads every exporter that there is: some megabytes of heap, which each full collection of
 * garbage marks.
 */
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  BatchSpanProcessor,
  ConsoleSpanExporter,
  ParentBasedSampler,
  SimpleSpanProcessor,
  TraceIdRatioBasedSampler,
} from "@opentelemetry/sdk-trace";
import type { Sampler, SpanExporter, SpanLimits, SpanProcessor } from "@opentelemetry/sdk-trace";
import {
  type Environment,
  readList,
  readNumber,
  readProtocol,
  unknownProtocol,
  unknownValue,
} from "./read-variables.ts";

/** Makes the processors that `environment` asks for. Throws `invalid` for an exporter or a protocol that there is not. */
export async function createSpanProcessors(environment: Environment): Promise<SpanProcessor[]> {
  const names = readList(environment, "OTEL_TRACES_EXPORTER");
  if (names.size === 0) names.add("otlp");
  return Promise.all([...names].map((name) => createProcessor(name, environment)));
}

async function createProcessor(name: string, environment: Environment): Promise<SpanProcessor> {
  switch (name) {
    case "otlp":
      return createBatchProcessor(await createOtlpExporter(environment), environment);
    case "console":
      return new SimpleSpanProcessor({ exporter: new ConsoleSpanExporter() });
    default:
      throw unknownValue("OTEL_TRACES_EXPORTER", name, "otlp, console or none");
  }
}

function createBatchProcessor(exporter: SpanExporter, environment: Environment): SpanProcessor {
  return new BatchSpanProcessor({
    exporter,
    ...given(environment, {
      maxQueueSize: ["OTEL_BSP_MAX_QUEUE_SIZE"],
      scheduledDelayMillis: ["OTEL_BSP_SCHEDULE_DELAY"],
      exportTimeoutMillis: ["OTEL_BSP_EXPORT_TIMEOUT"],
      maxExportBatchSize: ["OTEL_BSP_MAX_EXPORT_BATCH_SIZE"],
    }),
  });
}

async function createOtlpExporter(environment: Environment): Promise<SpanExporter> {
  const protocol = readProtocol(environment, "TRACES");
  switch (protocol) {
    case "grpc":
      return new (await import("@opentelemetry/exporter-trace-otlp-grpc")).OTLPTraceExporter();
    case "http/protobuf":
      return new (await import("@opentelemetry/exporter-trace-otlp-proto")).OTLPTraceExporter();
    case "http/json":
      return new (await import("@opentelemetry/exporter-trace-otlp-http")).OTLPTraceExporter();
    default:
      throw unknownProtocol(protocol);
  }
}

/** Makes the sampler that `environment` asks for: callers decide, and what nobody decided on is recorded, by default. */
export function createSampler(environment: Environment): Sampler {
  const name = environment["OTEL_TRACES_SAMPLER"]?.trim() || "parentbased_always_on";
  const base = name.replace(/^parentbased_/, "");
  const root = createRootSampler(base, environment);
  if (root === undefined) {
    const allowed = "always_on, always_off, traceidratio, or one of them with parentbased_ before it";
    throw unknownValue("OTEL_TRACES_SAMPLER", name, allowed);
  }
  return base === name ? root : new ParentBasedSampler({ root });
}

function createRootSampler(name: string, environment: Environment): Sampler | undefined {
  switch (name) {
    case "always_on":
      return new AlwaysOnSampler();
    case "always_off":
      return new AlwaysOffSampler();
    case "traceidratio":
      return new TraceIdRatioBasedSampler(readRatio(environment));
    default:
      return undefined;
  }
}

function readRatio(environment: Environment): number {
  const text = environment["OTEL_TRACES_SAMPLER_ARG"]?.trim() || "1";
  const ratio = Number(text);
  if (!(ratio >= 0 && ratio <= 1)) throw unknownValue("OTEL_TRACES_SAMPLER_ARG", text, "a number from 0 to 1");
  return ratio;
}

/** The limits of a span that `environment` sets. */
export function readSpanLimits(environment: Environment): SpanLimits {
  return given(environment, {
    attributeCountLimit: ["OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT"],
    attributeValueLengthLimit: ["OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"],
    eventCountLimit: ["OTEL_SPAN_EVENT_COUNT_LIMIT"],
    linkCountLimit: ["OTEL_SPAN_LINK_COUNT_LIMIT"],
    attributePerEventCountLimit: ["OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT"],
    attributePerLinkCountLimit: ["OTEL_LINK_ATTRIBUTE_COUNT_LIMIT"],
  });
}

/** The numbers that are set, each by the first of its variables that is. */
function given<K extends string>(
  environment: Environment,
  variables: Readonly<Record<K, readonly string[]>>,
): Partial<Record<K, number>> {
  const found: Partial<Record<K, number>> = {};
  for (const [key, names] of Object.entries(variables) as [K, readonly string[]][]) {
    const value = names.map((name) => readNumber(environment, name)).find((number) => number !== undefined);
    if (value !== undefined) found[key] = value;
  }
  return found;
}
