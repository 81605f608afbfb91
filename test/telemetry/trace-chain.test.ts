import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { Metadata } from "@grpc/grpc-js";
import type { ReadableSpan, Sampler } from "@opentelemetry/sdk-trace";
import { AlwaysOffSampler, AlwaysOnSampler, ParentBasedSampler } from "@opentelemetry/sdk-trace";
import test from "ava";
import type { ExecutionContext } from "ava";
import { VaultService, PublishRequestSchema, SubscribeRequestSchema } from "../../gen/messagevault/v1/vault_pb.ts";
import { SubscribeResponseSchema } from "../../gen/messagevault/v1/vault_pb.ts";
import type { Config } from "../../src/config.ts";
import { methodPath } from "../../src/rpc/handlers.ts";
import { createRawClient, readAll } from "../support/create-rpc-server.ts";
import { createTestTelemetry } from "../support/create-telemetry.ts";
import { createVault } from "../support/create-vault.ts";

const traceOf = (digit: string) => digit.repeat(32);
const parentOf = (digit: string, sampled = true) => `00-${traceOf(digit)}-${digit.repeat(16)}-0${sampled ? 1 : 0}`;

/** A vault that records what its callers record, and nothing of its own accord. */
async function startTraced(
  t: ExecutionContext,
  settings: Partial<Config> = {},
  root: Sampler = new AlwaysOffSampler(),
) {
  const told = createTestTelemetry({ sampler: new ParentBasedSampler({ root }) });
  const vault = await createVault(t, settings, told.telemetry);
  const client = createRawClient(t, vault.endpoint);
  return {
    client,
    async publish(request: MessageInitShape<typeof PublishRequestSchema>, traceparent?: string) {
      const metadata = new Metadata();
      if (traceparent !== undefined) metadata.set("traceparent", traceparent);
      const bytes = toBinary(PublishRequestSchema, create(PublishRequestSchema, request));
      await client.unary(methodPath(VaultService.method.publish), bytes, {}, metadata);
    },
    async readAll(stream: string) {
      const request = create(SubscribeRequestSchema, {
        stream,
        start: { case: "earliest", value: {} },
        end: { case: "untilTail", value: {} },
      });
      const bytes = toBinary(SubscribeRequestSchema, request);
      const { responses } = await readAll(client.serverStream(methodPath(VaultService.method.subscribe), bytes));
      return responses.flatMap((response) => fromBinary(SubscribeResponseSchema, response).records);
    },
    get spans() {
      return told.spans;
    },
    named: (name: string) => told.spans.filter((span) => span.name === name),
  };
}

const traceIdOf = (span: ReadableSpan | undefined) => span?.spanContext().traceId;
const spanIdOf = (span: ReadableSpan | undefined) => span?.spanContext().spanId;
const parentIdOf = (span: ReadableSpan | undefined) => span?.parentSpanContext?.spanId;
const record = (traceparent?: string) => ({
  value: Buffer.from("x"),
  headers: traceparent === undefined ? [] : [{ name: "traceparent", value: Buffer.from(traceparent) }],
});

test("trace - a publish by a caller that is recorded - is one chain to storage and to the subscriber", async (t) => {
  const vault = await startTraced(t);
  await vault.publish({ stream: "orders", records: [record(parentOf("a"))] }, parentOf("a"));
  const records = await vault.readAll("orders");
  const [call] = vault.named("messagevault.v1.VaultService/Publish");
  const [publish] = vault.named("publish orders");
  const [commit] = vault.named("commit orders");
  const writes = vault.named("storage writePages");
  const [delivery] = vault.named("deliver orders");
  for (const span of [call, publish, commit, ...writes, delivery]) t.is(traceIdOf(span), traceOf("a"));
  t.is(parentIdOf(call), "a".repeat(16));
  t.is(parentIdOf(publish), spanIdOf(call));
  t.is(parentIdOf(commit), spanIdOf(publish));
  t.deepEqual(writes.map(parentIdOf), [spanIdOf(commit)]);
  t.is(parentIdOf(delivery), "a".repeat(16));
  t.deepEqual(
    commit?.links.map(({ context }) => context.spanId),
    [spanIdOf(publish)],
  );
  t.deepEqual(
    delivery?.links.map(({ context }) => context.spanId),
    ["a".repeat(16)],
  );
  t.like(writes[0]?.attributes, { "messagevault.storage.operation": "writePages", "messagevault.storage.attempt": 1 });
  t.like(commit?.attributes, { "messaging.destination.name": "orders", "messaging.batch.message_count": 1 });
  // A record's own context is its producer's, and stays as it is.
  t.is(Buffer.from(records[0]!.headers[0]!.value).toString(), parentOf("a"));
});

test("trace - callers and records that are not recorded - leave no span", async (t) => {
  const vault = await startTraced(t);
  await vault.publish({ stream: "orders", records: [record()] });
  await vault.publish({ stream: "orders", records: [record(parentOf("b", false))] }, parentOf("b", false));
  const records = await vault.readAll("orders");
  t.deepEqual(vault.spans, []);
  // Nothing is added to records either.
  t.deepEqual(
    records.map(({ headers }) => headers.length),
    [0, 1],
  );
});

test("trace - records of several traces in one request - are linked with it and with their delivery", async (t) => {
  const vault = await startTraced(t);
  const traces = ["1", "2", "3"];
  await vault.publish({ stream: "orders", records: [record(), ...traces.map((digit) => record(parentOf(digit)))] });
  await vault.readAll("orders");
  for (const name of ["publish orders", "deliver orders"]) {
    const [span, ...more] = vault.named(name);
    t.deepEqual(more, []);
    t.is(traceIdOf(span), traceOf("1"), "a child of the first");
    t.deepEqual(
      span?.links.map(({ context }) => context.traceId),
      traces.map(traceOf),
    );
  }
  t.deepEqual(vault.named("messagevault.v1.VaultService/Subscribe"), [], "no span lasts as long as a subscription");
});

test("trace - many records with contexts - the links are bounded", async (t) => {
  const vault = await startTraced(t);
  const records = Array.from({ length: 200 }, (_, i) =>
    record(`00-${(i + 1).toString(16).padStart(32, "0")}-${"c".repeat(16)}-01`),
  );
  await vault.publish({ stream: "orders", records });
  await vault.readAll("orders");
  t.is(vault.named("publish orders")[0]?.links.length, 32);
  t.is(vault.named("deliver orders")[0]?.links.length, 32);
});

test("trace - publishes that were queued together - share one commit, linked with each", async (t) => {
  const vault = await startTraced(t, { lingerMs: 200 });
  const digits = ["1", "2", "3", "4", "5", "6", "7", "8"];
  await Promise.all(digits.map((digit) => vault.publish({ stream: "orders", records: [record()] }, parentOf(digit))));
  const commits = vault.named("commit orders");
  const links = commits.flatMap((commit) => commit.links.map(({ context }) => context.spanId));
  t.deepEqual(
    links.toSorted(),
    vault
      .named("publish orders")
      .map((span) => spanIdOf(span)!)
      .toSorted(),
  );
  t.true(commits.length < digits.length);
  const shared = commits.find((commit) => commit.links.length > 1);
  t.is(traceIdOf(shared), shared?.links[0]?.context.traceId);
});

test("trace - a refused publish - ends its spans with the reason", async (t) => {
  const vault = await startTraced(t);
  await vault.publish({ stream: "orders", records: [record()] });
  const refused = vault.publish({ stream: "orders", records: [record()], expectedOffset: 7n }, parentOf("d"));
  await t.throwsAsync(refused);
  t.is(vault.named("publish orders")[0]?.attributes["error.type"], "conflict");
  const [call] = vault.named("messagevault.v1.VaultService/Publish");
  t.like(call?.attributes, { "rpc.status_code": "FAILED_PRECONDITION" });
  t.is(call?.attributes["error.type"], undefined, "the caller's fault is none of the server's");
});

test("trace - a vault that records whatever nobody decided on - begins traces with calls and changes of leader only", async (t) => {
  const vault = await startTraced(t, {}, new AlwaysOnSampler());
  await vault.publish({ stream: "orders", records: [record()] });
  await vault.publish({ stream: "orders", records: [record()] }, parentOf("e", false));
  await vault.readAll("orders");
  const begun = vault.spans.filter((span) => span.parentSpanContext === undefined).map(({ name }) => name);
  t.deepEqual(begun, ["lead", "messagevault.v1.VaultService/Publish"]);
  // The steps of becoming the leader are below its span.
  const lead = vault.named("lead")[0];
  const steps = vault.spans.filter((span) => parentIdOf(span) === spanIdOf(lead)).map(({ name }) => name);
  t.deepEqual(steps, ["storage setMetadata", "storage acquireLease", "storage properties"]);
  t.like(lead?.attributes, { "messagevault.failover.cause": "first", "messagevault.epoch": 1 });
});
