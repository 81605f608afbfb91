import { create, toBinary } from "@bufbuild/protobuf";
import test from "ava";
import { SubscribeResponseSchema, PublishRequestSchema } from "../../gen/messagevault/v1/vault_pb.ts";
import { parsePublishRequest } from "../../src/rpc/publish-request.ts";
import { findBatchTraces, findStoredTraces, tracedRecordsMax } from "../../src/segment/record-traces.ts";

type Header = readonly [name: string, value: string];

const sampled = `00-${"a".repeat(32)}-${"b".repeat(16)}-01`;
const unsampled = `00-${"a".repeat(32)}-${"b".repeat(16)}-00`;
const expected = { traceId: "a".repeat(32), spanId: "b".repeat(16), sampled: true, state: undefined };

const record = (...headers: Header[]) => ({
  key: Buffer.from("key"),
  value: Buffer.alloc(300, "x"),
  headers: headers.map(([name, value]) => ({ name, value: Buffer.from(value) })),
});

function findBoth(records: readonly ReturnType<typeof record>[]) {
  const limits = { recordBytesMax: 100_000, keyBytesMax: 1000, batchBytesMax: 1_000_000 };
  const request = toBinary(PublishRequestSchema, create(PublishRequestSchema, { stream: "s", records: [...records] }));
  const stored = toBinary(SubscribeResponseSchema, create(SubscribeResponseSchema, { records: [...records] }));
  return [findBatchTraces(parsePublishRequest(Buffer.from(request), limits).batch), findStoredTraces([stored])];
}

const cases: Readonly<Record<string, readonly [headers: readonly Header[], found: readonly object[]]>> = {
  "no headers": [[], []],
  "a sampled context": [[["traceparent", sampled]], [expected]],
  "a context that is not sampled": [[["traceparent", unsampled]], []],
  "a context behind other headers": [
    [
      ["content-type", "text/plain"],
      ["x", ""],
      ["traceparent", sampled],
    ],
    [expected],
  ],
  "a context with a state": [
    [
      ["traceparent", sampled],
      ["tracestate", "vendor=1"],
    ],
    [{ ...expected, state: "vendor=1" }],
  ],
  "a state of more than 127 bytes": [
    [
      ["tracestate", `vendor=${"1".repeat(200)}`],
      ["traceparent", sampled],
    ],
    [{ ...expected, state: `vendor=${"1".repeat(200)}` }],
  ],
  "two contexts": [
    [
      ["traceparent", unsampled],
      ["traceparent", sampled],
    ],
    [],
  ],
  "another case": [[["TraceParent", sampled]], []],
  "a context that makes no sense": [[["traceparent", `00-${"0".repeat(32)}-${"b".repeat(16)}-01`]], []],
  "a context that is too short": [[["traceparent", "1"]], []],
};

for (const [name, [headers, found]] of Object.entries(cases)) {
  test(`record traces - ${name} - is read as it should be, as it came and as it is stored`, (t) => {
    const [batch, stored] = findBoth([record(...headers)]);
    t.deepEqual(batch, found as never);
    t.deepEqual(stored, found as never);
  });
}

test("record traces - of many records - only the first are looked at", (t) => {
  const records = Array.from({ length: tracedRecordsMax + 5 }, () => record(["traceparent", sampled]));
  for (const found of findBoth(records)) t.is(found?.length, tracedRecordsMax);
  const late = [...Array.from({ length: tracedRecordsMax }, () => record()), record(["traceparent", sampled])];
  for (const found of findBoth(late)) t.is(found?.length, 0);
});

test("record traces - bytes that are no records - find nothing and end", (t) => {
  for (const bytes of [[0x0a], [0x0a, 0x80], [0xff, 0xff, 0xff], [0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x2a]]) {
    t.deepEqual(findStoredTraces([Buffer.from(bytes)]), []);
  }
});
