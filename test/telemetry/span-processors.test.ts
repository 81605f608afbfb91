import { ROOT_CONTEXT, SpanKind, trace, TraceFlags } from "@opentelemetry/api";
import {
  BatchSpanProcessor,
  InMemorySpanExporter,
  SamplingDecision,
  SimpleSpanProcessor,
  TracerProvider,
} from "@opentelemetry/sdk-trace";
import test from "ava";
import { systemClock } from "../../src/clock.ts";
import { isKind } from "../../src/errors.ts";
import { createResource } from "../../src/telemetry/create-resource.ts";
import { createEarlySampling } from "../../src/telemetry/early-sampling.ts";
import { createHistograms } from "../../src/telemetry/histograms.ts";
import { createMetricReaders } from "../../src/telemetry/metric-readers.ts";
import { createOtelTraces } from "../../src/telemetry/otel-traces.ts";
import { createSampler, createSpanProcessors, readSpanLimits } from "../../src/telemetry/span-processors.ts";
import type { Environment } from "../../src/telemetry/read-variables.ts";

const [low, high] = ["1".padStart(32, "0"), "ffffffff".padEnd(32, "0")];

/** Whether a span is recorded, of a trace with this id whose caller decided so; undefined: that has none. */
function isSampled(environment: Environment, traceId: string, byCaller?: boolean): boolean {
  const traceFlags = byCaller === true ? TraceFlags.SAMPLED : TraceFlags.NONE;
  const caller = { traceId, spanId: "1".repeat(16), traceFlags, isRemote: true };
  const context = byCaller === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, caller);
  const { decision } = createSampler(environment).shouldSample(context, traceId, "x", SpanKind.SERVER, {}, []);
  return decision === SamplingDecision.RECORD_AND_SAMPLED;
}

/** Whether a trace that nobody decided on is recorded, one that its caller records, and one that it does not. */
const samplers: Readonly<Record<string, readonly [Environment, undecided: boolean, yes: boolean, no: boolean]>> = {
  "none is set": [{}, true, true, false],
  parentbased_always_off: [{ OTEL_TRACES_SAMPLER: "parentbased_always_off" }, false, true, false],
  always_on: [{ OTEL_TRACES_SAMPLER: "always_on" }, true, true, true],
  always_off: [{ OTEL_TRACES_SAMPLER: " always_off " }, false, false, false],
  "a ratio of none": [
    { OTEL_TRACES_SAMPLER: "parentbased_traceidratio", OTEL_TRACES_SAMPLER_ARG: "0" },
    false,
    true,
    false,
  ],
  "a ratio without its argument": [{ OTEL_TRACES_SAMPLER: "traceidratio" }, true, true, true],
};

for (const [name, [environment, undecided, yes, no]] of Object.entries(samplers)) {
  test(`telemetry variables - ${name} - samples as a user expects`, (t) => {
    t.is(isSampled(environment, high), undecided);
    t.is(isSampled(environment, high, true), yes);
    t.is(isSampled(environment, high, false), no);
  });
}

test("telemetry variables - a ratio - goes by the trace's id", (t) => {
  const environment = { OTEL_TRACES_SAMPLER: "parentbased_traceidratio", OTEL_TRACES_SAMPLER_ARG: "0.5" };
  t.not(isSampled(environment, low), isSampled(environment, high));
});

test("telemetry variables - a ratio - is asked for once a trace: what was decided on is what begins", (t) => {
  const sampler = createSampler({ OTEL_TRACES_SAMPLER: "traceidratio", OTEL_TRACES_SAMPLER_ARG: "0.2" });
  const sampling = createEarlySampling(sampler);
  const exporter = new InMemorySpanExporter();
  const spanProcessors = [new SimpleSpanProcessor({ exporter })];
  const tracer = new TracerProvider({ sampler, idGenerator: sampling.ids, spanProcessors }).getTracer("test");
  const { startSpan } = createOtelTraces(tracer, sampling);
  for (let i = 0; i < 2000; i++) startSpan("call", { parent: null })?.end();
  const ids = exporter.getFinishedSpans().map((span) => span.spanContext().traceId);
  t.is(new Set(ids).size, ids.length);
  t.true(ids.length > 300 && ids.length < 500, `${ids.length} of 2000`);
});

test("telemetry variables - exporters of traces - are those that are named", async (t) => {
  const kinds = async (environment: Environment) => {
    const processors = await createSpanProcessors(environment);
    await Promise.all(processors.map((processor) => processor.shutdown()));
    return processors.map(({ constructor }) => constructor);
  };
  t.deepEqual(await kinds({}), [BatchSpanProcessor]);
  t.deepEqual(await kinds({ OTEL_TRACES_EXPORTER: "console, otlp, console" }), [
    SimpleSpanProcessor,
    BatchSpanProcessor,
  ]);
  for (const protocol of ["grpc", "http/json", "http/protobuf"]) {
    t.deepEqual(await kinds({ OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: protocol }), [BatchSpanProcessor]);
  }
});

test("telemetry variables - limits of spans - are read, the span's own before those of all attributes", (t) => {
  t.deepEqual(readSpanLimits({ OTEL_ATTRIBUTE_COUNT_LIMIT: "7", OTEL_SPAN_LINK_COUNT_LIMIT: "no" }), {
    attributeCountLimit: 7,
  });
  const environment = { OTEL_ATTRIBUTE_COUNT_LIMIT: "7", OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT: "9" };
  t.deepEqual(readSpanLimits(environment), { attributeCountLimit: 9 });
});

const refused: readonly [Environment, string][] = [
  [{ OTEL_TRACES_EXPORTER: "otpl" }, "OTEL_TRACES_EXPORTER"],
  [{ OTEL_METRICS_EXPORTER: "otpl" }, "OTEL_METRICS_EXPORTER"],
  [{ OTEL_EXPORTER_OTLP_PROTOCOL: "http" }, "OTEL_EXPORTER_OTLP_PROTOCOL"],
  [{ OTEL_TRACES_SAMPLER: "sometimes" }, "OTEL_TRACES_SAMPLER"],
  [{ OTEL_TRACES_SAMPLER: "traceidratio", OTEL_TRACES_SAMPLER_ARG: "1 %" }, "OTEL_TRACES_SAMPLER_ARG"],
];

for (const [environment, name] of refused) {
  test(`telemetry variables - ${JSON.stringify(environment)} - is refused by name`, async (t) => {
    const error = await t.throwsAsync(async () => {
      createSampler(environment);
      const histograms = createHistograms({ name: "test" }, systemClock);
      await createMetricReaders({ OTEL_METRICS_EXPORTER: "console", ...environment }, histograms);
      await createSpanProcessors(environment);
    });
    t.true(isKind(error, "invalid"));
    t.true(error.message.startsWith(`${name}: `), error.message);
  });
}

test("telemetry variables - detectors - the process tells nothing of itself, whatever is asked for", (t) => {
  for (const named of [undefined, "all", "process", "env,process", "none"]) {
    const { attributes } = createResource({ OTEL_NODE_RESOURCE_DETECTORS: named }, "message-vault", "1.2.3");
    t.like(attributes, { "service.name": "message-vault", "service.version": "1.2.3" });
    t.deepEqual(
      Object.keys(attributes).filter((name) => name.startsWith("process.")),
      [],
    );
    t.is("host.name" in attributes, named === undefined || named === "all");
  }
});
