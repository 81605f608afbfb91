import { writeTraceContext, type TraceContext } from "../trace-context.ts";
import type { CallContext } from "./handlers.ts";
import { forwardedByKey } from "./leader-route.ts";

/** What a caller sends along that is for whoever answers the call, by lower-case name. */
export const passedOnKeys = ["authorization", "traceparent", "tracestate", "baggage"] as const;

/**
 * What a call carries that the node `nodeId` passes on: who does so, and what the caller sent along. `trace`: the span of
 * passing it on, which then stands in place of the caller's.
 */
export function forwardedMetadata(
  nodeId: string,
  { metadata }: CallContext,
  trace: TraceContext | undefined,
): Record<string, string> {
  const passedOn = passedOnKeys.flatMap((key) => {
    const value = metadata.get(key);
    return value === undefined ? [] : [[key, value] as const];
  });
  const own = trace === undefined ? {} : writeTraceContext(trace);
  return { ...Object.fromEntries(passedOn), ...own, [forwardedByKey]: nodeId };
}
