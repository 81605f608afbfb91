/** Clients that read: what each got is noted, and what must not be is named at once. */
import { timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { type SubscribeRequestSchema, VaultService } from "../../gen/messagevault/v1/vault_pb.ts";
import type { Record as VaultRecord } from "../../gen/messagevault/v1/record_pb.ts";
import type { SubscribeResponse } from "../../gen/messagevault/v1/vault_pb.ts";
import type { VaultError } from "../../src/errors.ts";
import type { Client } from "./client.ts";
import { worldStart } from "./host.ts";
import { valueOf } from "./records.ts";

type Request = Exclude<MessageInitShape<typeof SubscribeRequestSchema>, { $typeName: string }>;
type Start = NonNullable<Request["start"]>;

/** How far a subscription has come: what the final check compares with what is there. */
export interface Subscriber {
  readonly client: string;
  readonly stream: string;
  readonly keyPrefix: string;
  /** The incarnation that it reads; undefined before the first response. */
  incarnation: string | undefined;
  /** Where it goes on; undefined: where it begins. */
  nextOffset: number | undefined;
  /** Where this stretch without a gap began. */
  firstOffset: number;
  /** What it got since. */
  values: { readonly offset: number; readonly value: string }[];
  /** What it was promised of the time of what is still to come. */
  readonly promises: CompletePromise[];
}

/** The promise that no record at or behind an offset will ever have a timestamp before a time. */
export interface CompletePromise {
  readonly incarnation: string;
  readonly tailOffset: number;
  /** In milliseconds since 1970. */
  readonly completeUntil: number;
}

/** How long a subscription may be silent, in milliseconds: several heartbeats, and a failover. */
const silenceMsMax = 45_000;
const heartbeatMs = 4000;

/** Begins a subscriber's account. */
export function createSubscriber(client: Client, stream: string, keyPrefix: string): Subscriber {
  return {
    client: client.name,
    stream,
    keyPrefix,
    incarnation: undefined,
    nextOffset: undefined,
    firstOffset: 0,
    values: [],
    promises: [],
  };
}

/** Follows a stream from its first record on for as long as clients go on, over every failover. */
export async function follow(client: Client, subscriber: Subscriber, stop: AbortSignal): Promise<void> {
  while (!stop.aborted) {
    const { nextOffset, incarnation, stream } = subscriber;
    const start: Start =
      nextOffset === undefined ? { case: "earliest", value: {} } : { case: "offset", value: BigInt(nextOffset) };
    const ended = await consume(client, subscriber, { stream, incarnation: incarnation ?? "", start }, stop);
    if (stop.aborted) return;
    if (ended === undefined) client.violate("silent end", `${client.name}: a subscription without an end was ended`);
    else restart(client, subscriber, ended);
    client.moveOn();
    await client.pause(100 + 1000 * client.random());
  }
}

/** Decides where to go on after a status. */
function restart(client: Client, subscriber: Subscriber, error: VaultError): void {
  const { nextOffset } = subscriber;
  const told = error.kind === "outOfRange" ? undefined : error.detail.found?.["nextOffset"];
  if (told !== undefined && nextOffset !== undefined && Number(told) !== nextOffset) {
    client.violate("next offset", `${client.name}: goes on at ${told}, but got all before ${nextOffset}`);
  }
  if (error.kind === "outOfRange") {
    const first = Number(error.detail.found?.["firstOffset"]);
    if (nextOffset === undefined || first <= nextOffset) {
      client.violate("out of range", `${client.name}: ${nextOffset} is not before the first offset: ${error.message}`);
    }
    beginAt(subscriber, first);
  } else if (error.kind === "notFound" || error.kind === "conflict") {
    // Deleted; or made anew since.
    beginAt(subscriber, undefined);
    subscriber.incarnation = undefined;
  } else if (error.kind !== "unavailable" && error.kind !== "indeterminate" && error.kind !== "overloaded") {
    client.violate("status", `${client.name}: a subscription ended with ${error.kind}: ${error.message}`);
  }
}

function beginAt(subscriber: Subscriber, offset: number | undefined): void {
  subscriber.nextOffset = offset;
  subscriber.firstOffset = offset ?? 0;
  subscriber.values = [];
}

/** Reads one subscription to its end. Resolves to the error that it ended with; undefined where it ended with OK. */
async function consume(
  client: Client,
  subscriber: Subscriber,
  request: Request,
  stop: AbortSignal,
): Promise<VaultError | undefined> {
  const silence = new AbortController();
  const signal = AbortSignal.any([stop, silence.signal]);
  const calledAt = client.now;
  let heardAt = calledAt;
  const watching = watchSilence(client, () => heardAt, silence, stop);
  const interval = { seconds: BigInt(heartbeatMs / 1000), nanos: 0 };
  const whole = { heartbeatInterval: interval, keyPrefix: Buffer.from(subscriber.keyPrefix), ...request };
  try {
    for await (const response of client.stream(VaultService.method.subscribe, whole, signal)) {
      heardAt = client.now;
      take(client, subscriber, response, calledAt);
      // Some consumers are slow.
      if (!request.end && client.random() < 0.02) await client.pause(5000 * client.random());
    }
    return undefined;
  } catch (error) {
    return client.failure(error);
  } finally {
    silence.abort();
    await watching;
  }
}

/** Gives a subscription up that says nothing: its connection may be gone without a sign. */
async function watchSilence(
  client: Client,
  heardAt: () => number,
  silence: AbortController,
  stop: AbortSignal,
): Promise<void> {
  while (!silence.signal.aborted && !stop.aborted) {
    await new Promise<void>((resolve) => {
      const timer = client.scheduler.after(silenceMsMax / 3, resolve);
      silence.signal.addEventListener("abort", () => {
        timer.cancel();
        resolve();
      });
    });
    if (client.now - heardAt() > silenceMsMax) silence.abort();
  }
}

/** Takes in a response. */
function take(client: Client, subscriber: Subscriber, response: SubscribeResponse, calledAt: number): void {
  const { records, nextOffset, incarnation } = response;
  if (incarnation !== "") subscriber.incarnation ??= incarnation;
  if (subscriber.incarnation === undefined)
    client.violate("incarnation", `${client.name}: the first response lacks it`);
  const next = Number(nextOffset);
  const values: string[] = [];
  for (const record of records) {
    const value = checkRecord(client, subscriber, record);
    values.push(value);
    subscriber.values.push({ offset: Number(record.offset), value });
    subscriber.nextOffset = Number(record.offset) + 1;
  }
  if (subscriber.nextOffset === undefined) subscriber.firstOffset = next;
  else if (next < subscriber.nextOffset || (subscriber.keyPrefix === "" && next > subscriber.nextOffset)) {
    client.violate("next offset", `${client.name}: ${next} is told, ${subscriber.nextOffset} comes next`);
  }
  if (response.tailOffset < nextOffset) client.violate("tail", `${client.name}: tail ${response.tailOffset} < ${next}`);
  subscriber.nextOffset = next;
  if (response.completeUntil !== undefined && subscriber.incarnation !== undefined) {
    const completeUntil = timestampMs(response.completeUntil);
    const tailOffset = Number(response.tailOffset);
    subscriber.promises.push({ incarnation: subscriber.incarnation, tailOffset, completeUntil });
  }
  if (values.length === 0) return;
  client.history.push({
    op: "delivery",
    client: client.name,
    stream: subscriber.stream,
    incarnation: subscriber.incarnation,
    calledAt,
    endedAt: client.now,
    outcome: "ok",
    offsets: records.map(({ offset }) => Number(offset)),
    timestamps: records.map(({ timestamp }) => (timestamp === undefined ? 0 : timestampMs(timestamp))),
    values,
    nextOffset: next,
  });
}

function checkRecord(client: Client, subscriber: Subscriber, record: VaultRecord): string {
  const value = valueOf(record);
  const where = `${client.name}: offset ${record.offset} of ${subscriber.stream}`;
  if (value === undefined) client.violate("record", `${where} holds what nobody published`);
  const offset = Number(record.offset);
  const { nextOffset, keyPrefix } = subscriber;
  const isFirst = nextOffset === undefined;
  if (isFirst) subscriber.firstOffset = offset;
  else if (keyPrefix === "" ? offset !== nextOffset : offset < nextOffset) {
    client.violate("gap", `${where} came where ${nextOffset} should`);
  }
  if (!Buffer.from(record.key).toString().startsWith(keyPrefix)) client.violate("filter", `${where} has another key`);
  return value ?? "?";
}

/** What a read of a stream's records up to its tail can begin with. */
export type ReadStart = "earliest" | "latest" | "last" | "timestamp";

/** Reads a stream to its tail as it stands, once. Resolves to whether it was read. */
export async function readToTail(client: Client, stream: string, from: ReadStart): Promise<boolean> {
  const subscriber = createSubscriber(client, stream, "");
  const calledAt = client.now;
  const since = worldTime(client) - Math.floor(20_000 * client.random());
  const starts: Record<ReadStart, Start> = {
    earliest: { case: "earliest", value: {} },
    latest: { case: "latest", value: {} },
    last: { case: "last", value: BigInt(1 + Math.floor(8 * client.random())) },
    timestamp: { case: "timestamp", value: timestampFromMs(since) },
  };
  const request: Request = { stream, start: starts[from], end: { case: "untilTail", value: {} } };
  const error = await consume(client, subscriber, request, client.stopping);
  if (error !== undefined) {
    const fine = ["unavailable", "indeterminate", "overloaded", "notFound", "outOfRange"].includes(error.kind);
    if (!fine) client.violate("status", `${client.name}: a read ended with ${error.kind}: ${error.message}`);
    client.moveOn();
    return false;
  }
  const { values, incarnation, firstOffset, nextOffset } = subscriber;
  if (nextOffset === undefined) {
    client.violate("silent end", `${client.name}: a read to the tail ended without a response`);
    return false;
  }
  client.history.push({
    op: "read",
    client: client.name,
    stream,
    incarnation,
    calledAt,
    endedAt: client.now,
    outcome: "ok",
    firstOffset: values[0]?.offset ?? firstOffset,
    values: values.map(({ value }) => value),
    nextOffset,
  });
  return true;
}

/** The wall time that storage has, in milliseconds since 1970. */
function worldTime(client: Client): number {
  return Math.floor(worldStart + client.now);
}
