import type { Tracer } from "@opentelemetry/api";
import { noTelemetry, type Telemetry } from "../telemetry.ts";
import type { EarlySampling } from "./early-sampling.ts";
import { createOtelMetrics, type MetricSinks } from "./otel-metrics.ts";
import { createOtelTraces } from "./otel-traces.ts";

/** What telemetry is made of: without sinks there are no metrics, without a tracer no traces. */
export interface TelemetryParts {
  readonly metrics?: MetricSinks | undefined;
  readonly traces?: { readonly tracer: Tracer; readonly sampling: EarlySampling } | undefined;
  /** How many streams are told of by name. */
  readonly streamsMax: number;
}

/** Makes telemetry of OpenTelemetry's parts. Whoever made those ends them. */
export function createTelemetry({ metrics, traces: parts, streamsMax }: TelemetryParts): Telemetry {
  const traces = parts === undefined ? noTelemetry : createOtelTraces(parts.tracer, parts.sampling);
  const meters = metrics === undefined ? noTelemetry : createOtelMetrics(metrics, streamsMax);
  return {
    metering: meters.metering,
    counter: meters.counter,
    histogram: meters.histogram,
    observe: meters.observe,
    streamName: meters.streamName,
    tracing: traces.tracing,
    startSpan: traces.startSpan,
    within: traces.within,
    get active() {
      return traces.active;
    },
  };
}
