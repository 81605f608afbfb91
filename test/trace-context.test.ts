import test from "ava";
import { readTraceContext, writeTraceContext } from "../src/trace-context.ts";

const [traceId, spanId] = ["0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"];

test("trace context - what a caller sends - is read, and written again", (t) => {
  for (const [flags, sampled] of [
    ["01", true],
    ["00", false],
    ["03", true],
  ] as const) {
    const context = readTraceContext(`00-${traceId}-${spanId}-${flags}`, "vendor=1");
    t.deepEqual(context, { traceId, spanId, sampled, state: "vendor=1" });
    const traceparent = `00-${traceId}-${spanId}-${sampled ? "01" : "00"}`;
    t.deepEqual(writeTraceContext(context!), { traceparent, tracestate: "vendor=1" });
  }
});

test("trace context - a later version - is read as far as it is known", (t) => {
  t.like(readTraceContext(`01-${traceId}-${spanId}-01-more`), { traceId, spanId, sampled: true });
});

test("trace context - what makes no sense - is none", (t) => {
  const wrong = [
    undefined,
    "",
    "x",
    `00-${traceId}-${spanId}`,
    `00-${traceId}-${spanId}-01-more`,
    `ff-${traceId}-${spanId}-01`,
    `00-${traceId.toUpperCase()}-${spanId}-01`,
    `00-${"0".repeat(32)}-${spanId}-01`,
    `00-${traceId}-${"0".repeat(16)}-01`,
    `01-${traceId}-${spanId}-01-${"x".repeat(300)}`,
  ];
  for (const text of wrong) t.is(readTraceContext(text), undefined, text);
  t.is(readTraceContext(`00-${traceId}-${spanId}-01`, "x".repeat(513))?.state, undefined);
});
