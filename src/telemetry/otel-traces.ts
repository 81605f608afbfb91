/**
 * Traces by OpenTelemetry.
 *
 * Whether a span is recorded is the SDK's sampler to say; one that is not leaves no object behind. The active span
 * follows the code by AsyncLocalStorage, which is entered for recorded spans only.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { createTraceState, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace, TraceFlags } from "@opentelemetry/api";
import type { Context, Span as OtelSpan, SpanContext, Tracer } from "@opentelemetry/api";
import { VaultError } from "../errors.ts";
import { blotSecrets } from "../log.ts";
import { spans, type Span, type SpanName, type SpanOptions, type Telemetry } from "../telemetry.ts";
import type { TraceContext } from "../trace-context.ts";
import type { EarlySampling } from "./early-sampling.ts";

type Tracing = Pick<Telemetry, "tracing" | "startSpan" | "within" | "active">;

const kindOptions = {
  internal: { kind: SpanKind.INTERNAL },
  server: { kind: SpanKind.SERVER },
  client: { kind: SpanKind.CLIENT },
} as const;

/** Makes the spans of the list, by a tracer, of those that `sampling` says are recorded. */
export function createOtelTraces(tracer: Tracer, sampling: Pick<EarlySampling, "isRecorded">): Tracing {
  const storage = new AsyncLocalStorage<Span | undefined>();
  return {
    tracing: true,
    startSpan(name, options = {}) {
      const parent = options.parent === undefined ? storage.getStore()?.context : options.parent;
      // What belongs to something that is not recorded is no trace of its own.
      if (parent === undefined) return undefined;
      const [fullName, kind, context] = [nameOf(name, options), kindOptions[spans[name].kind], toOtelContext(parent)];
      if (!sampling.isRecorded(context, parent?.traceId, fullName, kind.kind)) return undefined;
      const span = tracer.startSpan(fullName, kind, context);
      if (!span.isRecording()) return undefined;
      // Most are not recorded, and none of the samplers that can be chosen looks at these.
      const { attributes, links = [] } = options;
      if (attributes !== undefined) span.setAttributes(attributes);
      for (const link of links) span.addLink({ context: toSpanContext(link) });
      return toSpan(span);
    },
    within: (span, run) => storage.run(span, run),
    get active() {
      return storage.getStore();
    },
  };
}

function nameOf(name: SpanName, { subject }: SpanOptions): string {
  if (subject === undefined) return name;
  return name === "call" || name === "forward" ? subject : `${name} ${subject}`;
}

function toOtelContext(parent: TraceContext | null): Context {
  return parent === null ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, toSpanContext(parent));
}

function toSpanContext({ traceId, spanId, sampled, state }: TraceContext): SpanContext {
  const traceFlags = sampled ? TraceFlags.SAMPLED : TraceFlags.NONE;
  const traceState = state === undefined ? {} : { traceState: createTraceState(state) };
  return { traceId, spanId, traceFlags, isRemote: true, ...traceState };
}

function toSpan(span: OtelSpan): Span {
  const { traceId, spanId, traceFlags, traceState } = span.spanContext();
  const sampled = (traceFlags & TraceFlags.SAMPLED) !== 0;
  return {
    context: { traceId, spanId, sampled, state: traceState?.serialize() },
    set: (values) => void span.setAttributes(values),
    event: (name, values) => void span.addEvent(name, values),
    end(error) {
      if (error !== undefined) {
        const message = error instanceof Error ? blotSecrets(error.message) : undefined;
        span.setAttribute("error.type", errorType(error));
        span.setStatus({ code: SpanStatusCode.ERROR, ...(message === undefined ? {} : { message }) });
      }
      span.end();
    },
  };
}

function errorType(error: unknown): string {
  if (typeof error === "string") return error;
  if (error instanceof VaultError) return error.kind;
  return error instanceof Error ? error.name : "_OTHER";
}
