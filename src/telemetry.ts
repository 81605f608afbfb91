/**
 * What the vault tells about itself: the one list of its metrics and spans, and the port that the layers tell them to.
 *
 * Names, units and attributes are OpenTelemetry's where it has some (semantic conventions 1.45.0: RPC is stable there,
 * messaging, process and Node.js are in development); what they have none for begins with `messagevault.`. The table in
 * docs/operations.md says what each means and when to worry; a test compares the two.
 *
 * Nothing here loads OpenTelemetry: `telemetry/` does where it is asked for. Without it there is `noTelemetry`, whose
 * instruments do nothing.
 */
import type { TraceContext } from "./trace-context.ts";

/** What a value or a span is about, by name. */
export type Attributes = Readonly<Record<string, string | number | boolean>>;

/** An attribute's name, and what stands in it. */
export const attributes = {
  "rpc.system.name": "Always `grpc`.",
  "rpc.method": "The method, as `messagevault.v1.VaultService/Publish`.",
  "rpc.status_code": "The gRPC status, as `OK` or `UNAVAILABLE`.",
  "server.address": "The host of the node that was called.",
  "server.port": "The port of the node that was called.",
  "error.type": "Why it failed: a status, or the kind of the vault's error. Absent where it succeeded.",
  "messaging.system.name": "Always `message_vault`.",
  "messaging.operation.name": "`publish`, `commit` or `deliver`.",
  "messaging.destination.name": "The stream; `(other)` beyond the limit of streams that are named.",
  "messaging.batch.message_count": "How many records.",
  "messagevault.storage.operation": "The operation on storage, as `writePages`.",
  "messagevault.storage.attempt": "Which attempt of the operation this is, from 1.",
  "messagevault.blob.name": "The blob that a request to storage is about.",
  "messagevault.cache.result": "`hit` or `miss`.",
  "messagevault.subscription.id":
    "The number that a subscription goes by on this node, from 1. Another gets it when it has ended.",
  "messagevault.failover.cause": "Why the leader before was replaced: first, resigned, expired, gone, silent, unknown.",
  "messagevault.epoch": "The leader's number.",
  "messagevault.offset.first": "The first offset of the batch.",
  "messagevault.offset.next": "The offset behind the batch.",
  "messagevault.commit.size": "The bytes that the commit writes.",
  "messagevault.commit.publishes": "How many publishes the commit stores.",
  "cpu.mode": "`user` or `system`.",
} as const;

/** An attribute's name. */
export type AttributeName = keyof typeof attributes;

/** What kind of figure a metric is. `observed` ones are asked for when metrics are collected, and cost nothing before. */
export type MetricKind = "counter" | "histogram" | "observedCounter" | "observedSum" | "observedGauge";

/** A metric. */
export interface Metric {
  readonly kind: MetricKind;
  /** As UCUM has it: `s`, `By`, `{record}`. */
  readonly unit: string;
  readonly description: string;
  readonly attributes: readonly AttributeName[];
  /** The upper bounds of a histogram's buckets. */
  readonly bounds?: readonly number[];
}

const rpcAttributes = ["rpc.system.name", "rpc.method", "rpc.status_code", "error.type"] as const;
const stream = ["messaging.destination.name"] as const;
const seconds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30] as const;
const bytes = [4096, 16_384, 65_536, 262_144, 1_048_576, 2_097_152, 4_194_304] as const;
const counts = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000] as const;

function metric<const K extends MetricKind>(
  kind: K,
  unit: string,
  names: readonly AttributeName[],
  description: string,
  bounds?: readonly number[],
) {
  return { kind, unit, description, attributes: names, ...(bounds === undefined ? {} : { bounds }) };
}

/** Every metric, by its name. */
export const metrics = {
  "rpc.server.call.duration": metric(
    "histogram",
    "s",
    rpcAttributes,
    "How long calls to this node took. A subscription's is as long as it was open.",
    seconds,
  ),
  "rpc.client.call.duration": metric(
    "histogram",
    "s",
    [...rpcAttributes, "server.address", "server.port"],
    "How long calls that this node passed on to the leader took.",
    seconds,
  ),
  "messagevault.calls.active": metric("observedSum", "{call}", [], "Calls that are under way."),

  "messagevault.publish.requests": metric("counter", "{request}", stream, "Publishes that were stored."),
  "messagevault.publish.records": metric("counter", "{record}", stream, "Records that were stored."),
  "messagevault.publish.bytes": metric("counter", "By", stream, "Bytes of records that were stored."),
  "messagevault.publish.duplicates": metric(
    "counter",
    "{request}",
    stream,
    "Publishes that were sent again and recognized.",
  ),
  "messagevault.publish.failures": metric("counter", "{request}", ["error.type"], "Publishes that were refused."),
  "messagevault.publish.queue.length": metric("observedSum", "{request}", [], "Publishes that wait for an answer."),
  "messagevault.publish.queue.size": metric("observedSum", "By", [], "Bytes of publishes that wait for an answer."),

  "messagevault.commit.duration": metric(
    "histogram",
    "s",
    ["error.type"],
    "From when a commit was first sent to storage until it was stored, or given up.",
    seconds,
  ),
  "messagevault.commit.size": metric("histogram", "By", [], "Bytes that a stored commit wrote.", bytes),
  "messagevault.commit.publishes": metric("histogram", "{request}", [], "Publishes in a stored commit.", counts),
  "messagevault.commit.retries": metric(
    "counter",
    "{retry}",
    ["error.type"],
    "Commits, and openings for them, that were tried again, by what failed.",
  ),

  "messagevault.storage.request.duration": metric(
    "histogram",
    "s",
    ["messagevault.storage.operation", "error.type"],
    "How long requests to storage took, each attempt for itself. Its count is the number of requests.",
    seconds,
  ),
  "messagevault.storage.retries": metric(
    "counter",
    "{retry}",
    ["messagevault.storage.operation"],
    "Requests to storage that were an attempt more of the same read.",
  ),
  "messagevault.storage.throttles": metric(
    "counter",
    "{request}",
    ["messagevault.storage.operation"],
    "Requests that storage refused because there were too many.",
  ),

  "messagevault.delivery.responses": metric("counter", "{response}", stream, "Responses with records to subscribers."),
  "messagevault.delivery.records": metric("counter", "{record}", stream, "Records that were sent to subscribers."),
  "messagevault.delivery.bytes": metric("counter", "By", stream, "Bytes of records that were sent to subscribers."),
  "messagevault.tail_cache.reads": metric(
    "counter",
    "{read}",
    ["messagevault.cache.result"],
    "Reads of subscriptions: from the newest frames in memory (hit), or from storage and its cache (miss).",
  ),
  "messagevault.tail_cache.size": metric("observedSum", "By", [], "Bytes of the newest frames that are in memory."),

  "messagevault.streams.open": metric("observedSum", "{stream}", [], "Streams that are open to write on this node."),
  "messagevault.subscriptions.open": metric("observedSum", "{subscription}", [], "Subscriptions on this node."),
  "messagevault.subscriptions.caught_up": metric(
    "observedSum",
    "{subscription}",
    [],
    "Subscriptions that have been sent all there is.",
  ),
  "messagevault.subscriptions.lag.records.max": metric(
    "observedGauge",
    "{record}",
    [],
    "How many records the subscription that is furthest behind has not been sent.",
  ),
  "messagevault.subscriptions.lag.time.max": metric(
    "observedGauge",
    "s",
    [],
    "The same in time: how much older the last record that it was sent is than its stream's newest.",
  ),
  "messagevault.subscription.lag.records": metric(
    "observedGauge",
    "{record}",
    ["messaging.destination.name", "messagevault.subscription.id"],
    "How many records a subscription has not been sent, for the oldest subscriptions within the limit of named ones.",
  ),
  "messagevault.subscription.lag.time": metric(
    "observedGauge",
    "s",
    ["messaging.destination.name", "messagevault.subscription.id"],
    "How much older the last record that a subscription was sent is than its stream's newest; 0 when caught up.",
  ),

  "messagevault.leader.leads": metric("observedSum", "1", [], "1 while this node leads, else 0."),
  "messagevault.leader.known": metric("observedSum", "1", [], "1 while this node knows who leads, else 0."),
  "messagevault.leader.epoch": metric("observedGauge", "{epoch}", [], "The leader's epoch as this node knows it."),
  "messagevault.lease.renewal.age": metric(
    "observedGauge",
    "s",
    [],
    "How long ago this node's lease was taken or renewed; absent where it does not lead.",
  ),
  "messagevault.failovers": metric(
    "counter",
    "{failover}",
    ["messagevault.failover.cause"],
    "Times that this node became the leader, by why the one before was replaced.",
  ),
  "messagevault.failover.gap": metric(
    "histogram",
    "s",
    ["messagevault.failover.cause"],
    "How long nobody led, from the last sign of the leader before, where this node had watched it.",
    seconds,
  ),
  "messagevault.fences.lost": metric(
    "counter",
    "{fence}",
    [],
    "Times that this node's leadership ended against its will.",
  ),

  "nodejs.eventloop.delay.mean": metric("observedGauge", "s", [], "Mean delay of the event loop since the last look."),
  "nodejs.eventloop.delay.p50": metric("observedGauge", "s", [], "Median delay of the event loop."),
  "nodejs.eventloop.delay.p99": metric("observedGauge", "s", [], "Delay of the event loop that 1 % exceed."),
  "nodejs.eventloop.delay.max": metric("observedGauge", "s", [], "Longest delay of the event loop."),
  "nodejs.eventloop.utilization": metric("observedGauge", "1", [], "Share of the time that the event loop was busy."),
  "process.cpu.time": metric("observedCounter", "s", ["cpu.mode"], "Processor time of the process."),
  "process.memory.usage": metric("observedSum", "By", [], "Resident memory of the process."),
  "v8js.memory.heap.used": metric("observedSum", "By", [], "Bytes of V8's heap that are used."),
} as const satisfies Readonly<Record<string, Metric>>;

/** A metric's name. */
export type MetricName = keyof typeof metrics;

type NameOf<K extends MetricKind> = {
  [N in MetricName]: (typeof metrics)[N]["kind"] extends K ? N : never;
}[MetricName];

/** The names of metrics that are counted. */
export type CounterName = NameOf<"counter">;

/** The names of metrics of which each value counts. */
export type HistogramName = NameOf<"histogram">;

/** The names of metrics that are asked for. */
export type ObservedName = NameOf<"observedCounter" | "observedSum" | "observedGauge">;

/** Who a span's other end is. */
export type SpanKind = "internal" | "server" | "client";

/** Every span: what its name begins with (what follows makes it a stream's or a method's), and what it stands for. */
export const spans = {
  call: { kind: "server", description: "A call, but for subscriptions. Named by its method." },
  forward: { kind: "client", description: "A call that is passed on to the leader. Named by its method." },
  publish: { kind: "internal", description: "A publish, until it is answered: `publish STREAM`." },
  commit: {
    kind: "internal",
    description: "One write of all that was queued; linked with its publishes: `commit STREAM`.",
  },
  deliver: { kind: "internal", description: "A response to a subscriber; linked with its records: `deliver STREAM`." },
  storage: { kind: "client", description: "A request to storage, each attempt for itself: `storage OPERATION`." },
  lead: { kind: "internal", description: "From grounds to replace the leader until this node leads: `lead`." },
  resign: {
    kind: "internal",
    description: "From when this node ends to lead until its lease is given back: `resign`.",
  },
} as const satisfies Readonly<Record<string, { kind: SpanKind; description: string }>>;

/** A span's name in the list. */
export type SpanName = keyof typeof spans;

/** A span that is recorded. */
export interface Span {
  readonly context: TraceContext;
  set(values: Attributes): void;
  event(name: string, values?: Attributes): void;
  /** Ends it; with the `error` that it failed with, if it did. Once. */
  end(error?: unknown): void;
}

/** How a span begins. */
export interface SpanOptions {
  /** What follows the name in the list: a stream, a method. Replaces it for calls, which are named by their method. */
  readonly subject?: string | undefined;
  /** Undefined: what `active` says; null: none, so that it begins a trace. */
  readonly parent?: TraceContext | null | undefined;
  readonly links?: readonly TraceContext[] | undefined;
  readonly attributes?: Attributes | undefined;
}

/** Counts one metric with fixed attributes. */
export interface Counter {
  add(amount: number): void;
}

/** Takes values of one metric with fixed attributes. */
export interface Histogram {
  record(value: number): void;
}

/** Tells a value of an observed metric. */
export type Report = (value: number, values?: Attributes) => void;

/**
 * Where the layers tell what happens. An instrument is fetched once, where a stream or a service begins, and used often:
 * fetching looks it up, using it is a plain call.
 */
export interface Telemetry {
  /** Whether metrics are kept: for what would have to be worked out for them alone. */
  readonly metering: boolean;
  /** Whether spans may be recorded: for what would have to be worked out for them alone. */
  readonly tracing: boolean;
  counter(name: CounterName, values?: Attributes): Counter;
  histogram(name: HistogramName, values?: Attributes): Histogram;
  /** Has `read` asked whenever metrics are collected, until what it returns is called. One metric may have several. */
  observe(name: ObservedName, read: (report: Report) => void): () => void;
  /** The name under which a stream is told of: its own for the first ones, `(other)` beyond the limit. */
  streamName(name: string): string;
  /** Begins a span; undefined where it is not sampled. */
  startSpan(name: SpanName, options?: SpanOptions): Span | undefined;
  /** Runs `run` with `span` as the active one, in all that it awaits too; undefined: with none. */
  within<T>(span: Span | undefined, run: () => T): T;
  /** The span that is active here, if there is one. */
  readonly active: Span | undefined;
}

const noCounter: Counter = Object.freeze({ add() {} });
const noHistogram: Histogram = Object.freeze({ record() {} });
const unobserve = () => undefined;

/** Telemetry that keeps nothing, and costs next to nothing. */
export const noTelemetry: Telemetry = Object.freeze({
  metering: false,
  tracing: false,
  counter: () => noCounter,
  histogram: () => noHistogram,
  observe: () => unobserve,
  streamName: (name: string) => name,
  startSpan: () => undefined,
  within: <T>(_span: Span | undefined, run: () => T) => run(),
  active: undefined,
});
