/** What is told of calls that a node passes on to the leader: on both sides of the link. */
import { SpanKind } from "@opentelemetry/api";
import type { ReadableSpan } from "@opentelemetry/sdk-trace";
import test from "ava";
import { VaultError } from "../../src/errors.ts";
import { createContext } from "../support/call-handler.ts";
import { createForwardingCluster, paths } from "../support/create-forwarding.ts";
import type { ForwardingNode } from "../support/create-forwarding.ts";
import { drive } from "../support/drive.ts";
import { createTestTelemetry, sumOf } from "../support/create-telemetry.ts";

const traceId = "0af7651916cd43dd8448eb211c80319c";
const callerId = "b7ad6b7169203331";
const caller = (flags: string) => ({ traceparent: `00-${traceId}-${callerId}-${flags}` });
const publishName = "messagevault.v1.VaultService/Publish";
const streamName = "messagevault.v1.VaultService/PublishStream";

/** A leader `a`, and a standby `b` of which is told as well. */
function createTold() {
  const cluster = createForwardingCluster();
  const [toldByA, toldByB] = [createTestTelemetry(), createTestTelemetry()];
  const [a, b] = [cluster.start("a", toldByA.telemetry), cluster.start("b", toldByB.telemetry)];
  cluster.lead("a", 1);
  return { ...cluster, a, b, toldByA, toldByB };
}

/** Publishes one after the other in one call; the answers as far as they came. */
async function publishAll({ handlers }: ForwardingNode, requests: AsyncIterable<Buffer>, metadata = {}) {
  const handler = handlers[paths.publishStream];
  if (handler?.kind !== "duplex") throw new Error("not duplex");
  const answers: string[] = [];
  for await (const answer of handler.handle(requests, createContext({ metadata }))) {
    const bytes = Buffer.alloc(answer.byteLength);
    answer.copy(bytes, 0);
    answers.push(bytes.toString());
  }
  return answers;
}

async function* asRequests(...texts: string[]): AsyncGenerator<Buffer> {
  for (const text of texts) yield Buffer.from(text);
}

const parentOf = (span: ReadableSpan | undefined) => span?.parentSpanContext?.spanId;
const idOf = (span: ReadableSpan | undefined) => span?.spanContext().spanId;
const { SERVER: server, CLIENT: client } = SpanKind;

test("forwarding, telemetry - a call that is recorded - is one trace: the standby's call, the link, the leader's call", async (t) => {
  const { b, publish, toldByA, toldByB } = createTold();
  await publish(b, "x", createContext({ metadata: caller("01") }));
  const [forward, call, ...more] = toldByB.spans;
  const [answered, ...others] = toldByA.spans;
  t.deepEqual([...more, ...others], []);
  for (const span of [forward, call, answered]) {
    t.is(span?.name, publishName);
    t.is(span?.spanContext().traceId, traceId);
    t.like(span?.attributes, { "rpc.system.name": "grpc", "rpc.method": publishName, "rpc.status_code": "OK" });
  }
  t.deepEqual([call?.kind, forward?.kind, answered?.kind], [server, client, server]);
  t.is(parentOf(call), callerId);
  t.is(parentOf(forward), idOf(call));
  t.is(parentOf(answered), idOf(forward));
  t.like(forward?.attributes, { "server.address": "a", "server.port": 50051 });
});

test("forwarding, telemetry - a call that is not recorded - has no span, and its caller's context goes on", async (t) => {
  const { a, b, publish, toldByA, toldByB } = createTold();
  let parent: string | undefined;
  a.answer = (_request, { metadata }) => {
    parent = metadata.get("traceparent");
    return "";
  };
  await publish(b, "x", createContext({ metadata: caller("00") }));
  t.deepEqual([...toldByA.spans, ...toldByB.spans], []);
  t.is(parent, caller("00").traceparent);
});

test("forwarding, telemetry - calls are counted by where they went and how they ended, on both nodes", async (t) => {
  const { a, b, publish, toldByA, toldByB } = createTold();
  await publish(b, "x", createContext());
  await publish(a, "x", createContext());
  a.answer = () => Promise.reject(new VaultError("conflict", "no", { condition: "expectedOffset" }));
  await t.throwsAsync(publish(b, "x", createContext({ metadata: caller("01") })));
  const [metricsOfA, metricsOfB] = [await toldByA.collect(), await toldByB.collect()];
  const sent = metricsOfB.get("rpc.client.call.duration");
  const place = { "rpc.method": publishName, "server.address": "a", "server.port": 50051 };
  t.is(sumOf(sent, { ...place, "rpc.status_code": "OK" }), 1);
  const refused = { "rpc.status_code": "FAILED_PRECONDITION", "error.type": "FAILED_PRECONDITION" };
  t.is(sumOf(sent, { ...place, ...refused }), 1);
  t.is(sumOf(sent), 2, "and no others");
  t.is(sumOf(metricsOfB.get("rpc.server.call.duration")), 2);
  t.is(sumOf(metricsOfA.get("rpc.server.call.duration")), 3);
  t.is(sumOf(metricsOfA.get("rpc.client.call.duration")), 0, "the leader passes nothing on");
  t.is(sumOf(metricsOfB.get("messagevault.calls.active")), 0);
  const forward = toldByB.spans.find(({ kind, attributes }) => kind === client && "error.type" in attributes);
  t.like(forward?.attributes, refused);
});

test("forwarding, telemetry - a call that meets a leader who is gone, and then its successor - is told of twice", async (t) => {
  const { b, publish, lead, network, clock, start, toldByB } = createTold();
  const next = createTestTelemetry();
  start("c", next.telemetry);
  network.serve("a:50051", undefined);
  const answer = publish(b, "x", createContext({ metadata: caller("01") }));
  await clock.settle();
  lead("c", 2);
  await clock.advanceUntil(() => next.spans.length > 0, 5000);
  t.is(await answer, "c: x");
  const forwards = toldByB.spans.filter(({ kind }) => kind === client);
  t.like(forwards[0]?.attributes, { "server.address": "a", "error.type": "UNAVAILABLE" });
  t.like(forwards.at(-1)?.attributes, { "server.address": "c", "rpc.status_code": "OK" });
  t.is(parentOf(next.spans[0]), idOf(forwards.at(-1)));
  t.is(toldByB.spans.filter(({ kind }) => kind === server).length, 1);
});

test("forwarding, telemetry - PublishStream - has a span and a duration for each leader that it went to", async (t) => {
  const { b, lead, clock, start, toldByB } = createTold();
  const next = createTestTelemetry();
  start("c", next.telemetry);
  t.deepEqual(await publishAll(b, asRequests("x", "y"), caller("01")), ["a: x", "a: y"]);
  const changed = Promise.withResolvers<void>();
  async function* overChange(): AsyncGenerator<Buffer> {
    yield* asRequests("x");
    await changed.promise;
    yield* asRequests("y");
  }
  const answered = publishAll(b, overChange(), caller("01"));
  await clock.settle();
  lead("c", 2);
  await clock.advance(1000);
  changed.resolve();
  t.deepEqual(await drive(clock, answered), ["a: x", "c: y"]);
  const forwards = toldByB.spans.filter(({ name, kind }) => name === streamName && kind === client);
  t.deepEqual(
    forwards.map(({ attributes }) => attributes["server.address"]),
    ["a", "a", "c"],
  );
  const calls = toldByB.spans.filter(({ kind }) => kind === server);
  t.deepEqual(forwards.map(parentOf), [idOf(calls[0]), idOf(calls[1]), idOf(calls[1])]);
  t.is(parentOf(next.spans[0]), idOf(forwards[2]));
  const sent = (await toldByB.collect()).get("rpc.client.call.duration");
  t.is(sumOf(sent, { "rpc.method": streamName, "server.address": "a" }), 2);
  t.is(sumOf(sent, { "rpc.method": streamName, "server.address": "c" }), 1);
});
