import type { Context, SpanKind } from "@opentelemetry/api";
import { RandomIdGenerator, SamplingDecision } from "@opentelemetry/sdk-trace";
import type { IdGenerator, Sampler } from "@opentelemetry/sdk-trace";

/** Asks a sampler before the SDK makes anything of a span: nearly all are not recorded, and that is to cost little. */
export interface EarlySampling {
  /** Whether a span in the trace `traceId` is recorded; undefined: one that begins a trace. */
  isRecorded(context: Context, traceId: string | undefined, name: string, kind: SpanKind): boolean;
  /** For the SDK: a trace that was asked about last begins with the id that the answer was for. */
  readonly ids: IdGenerator;
}

/** Makes it. The sampler is asked again by the SDK, and has to say the same of the same trace. */
export function createEarlySampling(sampler: Sampler): EarlySampling {
  const random = new RandomIdGenerator();
  let decidedOn: string | undefined;
  return {
    isRecorded(context, traceId, name, kind) {
      const id = traceId ?? random.generateTraceId();
      const recorded = sampler.shouldSample(context, id, name, kind, {}, []).decision !== SamplingDecision.NOT_RECORD;
      decidedOn = recorded && traceId === undefined ? id : undefined;
      return recorded;
    },
    ids: {
      generateTraceId() {
        const id = decidedOn ?? random.generateTraceId();
        decidedOn = undefined;
        return id;
      },
      generateSpanId: () => random.generateSpanId(),
    },
  };
}
