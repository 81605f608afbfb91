/** Where in a trace something happens, as the W3C's `traceparent` and `tracestate` carry it. */
export interface TraceContext {
  /** 32 lower-case hexadecimal digits. */
  readonly traceId: string;
  /** 16 lower-case hexadecimal digits. */
  readonly spanId: string;
  readonly sampled: boolean;
  /** The vendors' part, as it came. */
  readonly state?: string | undefined;
}

/** The longest `traceparent` that is looked at: a later version's may be longer than ours. */
export const traceParentLengthMax = 256;

/** The longest `tracestate` that is kept: what all must be able to carry. [W3C Trace Context, 3.3.1.5] */
export const traceStateLengthMax = 512;

const version0 = /^(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;

/** Reads `traceparent` and `tracestate`; undefined where the first is missing or makes no sense. [W3C Trace Context] */
export function readTraceContext(parent: string | undefined, state?: string): TraceContext | undefined {
  if (parent === undefined || parent.length > traceParentLengthMax) return undefined;
  const [, version, traceId = "", spanId = "", flags = "", more] = version0.exec(parent.trim()) ?? [];
  if (version === undefined || (version === "00" && more !== undefined)) return undefined;
  if (/^0+$/.test(traceId) || /^0+$/.test(spanId)) return undefined;
  const sampled = (Number.parseInt(flags, 16) & 1) === 1;
  return { traceId, spanId, sampled, state: isKept(state) ? state : undefined };
}

/** What a call carries along to name its context, by lower-case name. */
export function writeTraceContext({ traceId, spanId, sampled, state }: TraceContext): Record<string, string> {
  const traceparent = `00-${traceId}-${spanId}-${sampled ? "01" : "00"}`;
  return state === undefined ? { traceparent } : { traceparent, tracestate: state };
}

function isKept(state: string | undefined): boolean {
  return state !== undefined && state !== "" && state.length <= traceStateLengthMax;
}
