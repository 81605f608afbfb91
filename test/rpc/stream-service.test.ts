import type { ExecutionContext } from "ava";
import test from "ava";
import { StreamService } from "../../gen/messagevault/v1/stream_pb.ts";
import { VaultError } from "../../src/errors.ts";
import type { HandlerTable } from "../../src/rpc/handlers.ts";
import { createStreamHandlers } from "../../src/rpc/stream-service.ts";
import type { SettingsChange, StreamInfo, VaultApi } from "../../src/stream/commands.ts";
import { callHandler as call } from "../support/call-handler.ts";
import { createVaultApi } from "../support/create-vault-api.ts";

function serve(methods: Partial<VaultApi>): HandlerTable {
  return createStreamHandlers(createVaultApi(methods));
}

async function refusedField(t: ExecutionContext, answer: Promise<unknown>): Promise<string | undefined> {
  const error = await t.throwsAsync(answer, { instanceOf: VaultError });
  t.is(error.kind, "invalid");
  return error.detail.field;
}

const info: StreamInfo = {
  name: "s",
  incarnation: "ab",
  settings: {
    segmentBytes: 65_536,
    segmentAgeMs: 86_400_000,
    retentionAgeMs: 0,
    retentionBytes: 0,
    producerWindowMs: 1500,
  },
  createdAt: 1_700_000_000_123,
  firstOffset: 5n,
  nextOffset: 2n ** 60n,
  firstTimestamp: undefined,
  lastTimestamp: 1_700_000_000_999,
  storedBytes: 12_288,
  segmentCount: 2,
};

const { method } = StreamService;

test("GetStream - tells settings, bounds and times", async (t) => {
  const { stream } = await call(serve({ getStream: async () => info }), method.getStream, { name: "s" });
  t.like(stream, { name: "s", incarnation: "ab", firstOffset: 5n, nextOffset: 2n ** 60n, storedBytes: 12_288n });
  t.like(stream?.createTime, { seconds: 1_700_000_000n, nanos: 123_000_000 });
  t.like(stream?.settings?.producerWindow, { seconds: 1n, nanos: 500_000_000 });
  t.is(stream?.settings?.segmentBytes, 65_536n);
  t.is(stream?.firstTimestamp, undefined);
});

test("CreateStream - only what is given is a setting", async (t) => {
  let seen: SettingsChange | undefined;
  const createStream = async (_name: string, settings: SettingsChange) => {
    seen = settings;
    return info;
  };
  await call(serve({ createStream }), method.createStream, { name: "s" });
  t.deepEqual(seen, {});
  const settings = { segmentBytes: 4096n * 17n, retentionAge: { seconds: 1n, nanos: 1 }, retentionBytes: 7n };
  await call(serve({ createStream }), method.createStream, { name: "s", settings });
  t.deepEqual(seen, { segmentBytes: 4096 * 17, retentionAgeMs: 1001, retentionBytes: 7 });
});

const settingsRefused = [
  ["settings.segment_bytes", { segmentBytes: 65_536n - 4096n }],
  ["settings.segment_bytes", { segmentBytes: 65_537n }],
  ["settings.segment_bytes", { segmentBytes: 8n * 1024n ** 3n + 4096n }],
  ["settings.segment_age", { segmentAge: { seconds: 0n, nanos: 0 } }],
  ["settings.retention_age", { retentionAge: { seconds: -1n, nanos: 0 } }],
  ["settings.retention_age", { retentionAge: { seconds: 315_576_000_001n, nanos: 0 } }],
  ["settings.retention_bytes", { retentionBytes: 2n ** 53n }],
  ["settings.producer_window", { producerWindow: { seconds: 0n, nanos: 1_000_000_000 } }],
] as const;

for (const [index, [field, settings]] of settingsRefused.entries()) {
  test(`CreateStream - ${field} is refused by its name (${index})`, async (t) => {
    t.is(await refusedField(t, call(serve({}), method.createStream, { name: "s", settings })), field);
  });
}

test("UpdateStream - the mask decides: what it names and the message lacks goes back to the default", async (t) => {
  let seen: SettingsChange | undefined;
  const handlers = serve({
    updateStream: async (_name, change) => {
      seen = change;
      return info;
    },
  });
  const settings = { retentionBytes: 9n, segmentBytes: 65_536n };
  await call(handlers, method.updateStream, {
    name: "s",
    settings,
    updateMask: { paths: ["retention_bytes", "segment_age"] },
  });
  t.deepEqual(seen, { retentionBytes: 9, segmentAgeMs: undefined });
  await call(handlers, method.updateStream, { name: "s", settings, updateMask: { paths: ["*"] } });
  t.deepEqual(seen, {
    segmentBytes: 65_536,
    segmentAgeMs: undefined,
    retentionAgeMs: undefined,
    retentionBytes: 9,
    producerWindowMs: undefined,
  });
  t.true(Object.hasOwn(seen!, "segmentAgeMs"));
});

for (const paths of [[], ["name"], ["toString"], ["retention_bytes", "settings.segment_age"]]) {
  test(`UpdateStream - the mask [${paths.join()}] is refused`, async (t) => {
    const answer = call(serve({}), method.updateStream, { name: "s", updateMask: { paths } });
    t.is(await refusedField(t, answer), "update_mask");
  });
}

test("ListStreams - a page's token brings the next page", async (t) => {
  const asked: unknown[] = [];
  const handlers = serve({
    listStreams: async (prefix, limit, from) => {
      asked.push([prefix, limit, from]);
      return { names: ["a"], next: from === undefined ? "next/ page\u00fc" : undefined };
    },
  });
  const first = await call(handlers, method.listStreams, { prefix: "a." });
  t.deepEqual(first.names, ["a"]);
  const last = await call(handlers, method.listStreams, { pageSize: 1000, pageToken: first.nextPageToken });
  t.is(last.nextPageToken, "");
  t.deepEqual(asked, [
    ["a.", 100, undefined],
    ["", 1000, "next/ page\u00fc"],
  ]);
});

const listingsRefused = [
  ["page_size", { pageSize: -1 }],
  ["page_size", { pageSize: 1001 }],
  ["prefix", { prefix: "../" }],
  ["prefix", { prefix: "a/b" }],
  ["page_token", { pageToken: "not base64url!" }],
  ["page_token", { pageToken: "a".repeat(4097) }],
] as const;

for (const [index, [field, request]] of listingsRefused.entries()) {
  test(`ListStreams - ${field} is refused by its name (${index})`, async (t) => {
    t.is(await refusedField(t, call(serve({}), method.listStreams, request)), field);
  });
}

test("TrimStream - cuts at an offset, or at a time rounded up to the vault's milliseconds", async (t) => {
  const seen: unknown[] = [];
  const handlers = serve({
    trimStream: async (_name, before) => {
      seen.push(before);
      return 12n;
    },
  });
  const answer = await call(handlers, method.trimStream, { name: "s", before: { case: "offset", value: 12n } });
  t.is(answer.firstOffset, 12n);
  const value = { seconds: 1n, nanos: 1 };
  await call(handlers, method.trimStream, { name: "s", before: { case: "timestamp", value } });
  t.deepEqual(seen, [{ offset: 12n }, { timestamp: 1001 }]);
  t.is(await refusedField(t, call(handlers, method.trimStream, { name: "s" })), "before");
});

test("DeleteStream - an incarnation is passed on only where it is given", async (t) => {
  const seen: unknown[] = [];
  const handlers = serve({
    deleteStream: async (...args) => {
      seen.push(args);
    },
  });
  await call(handlers, method.deleteStream, { name: "s" });
  await call(handlers, method.deleteStream, { name: "s", incarnation: "ab" });
  t.deepEqual(seen, [
    ["s", undefined],
    ["s", "ab"],
  ]);
});

test("GetReadAccess - tells the segments; a range that runs backwards is refused", async (t) => {
  const segment = { blob: "b", firstOffset: 1n, nextOffset: 2n, endPosition: 8192, sealed: true };
  const handlers = serve({ readAccess: async () => ({ incarnation: "ab", segments: [segment] }) });
  const access = await call(handlers, method.getReadAccess, { name: "s" });
  t.like(access.segments[0], { ...segment, endPosition: 8192n });
  const backwards = call(handlers, method.getReadAccess, { name: "s", fromOffset: 5n, toOffset: 4n });
  t.is(await refusedField(t, backwards), "to_offset");
});

const naming = [method.createStream, method.getStream, method.updateStream, method.deleteStream] as const;
for (const unary of [...naming, method.trimStream, method.getReadAccess]) {
  test(`${unary.name} - a bad name is refused`, async (t) => {
    for (const name of ["", ".", "a.", "_a", "a/b", "ä", "a".repeat(129)]) {
      const answer = call(serve({}), unary as typeof method.getStream, { name });
      t.is(await refusedField(t, answer), "name");
    }
  });
}
